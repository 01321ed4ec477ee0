package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Stage.message;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Push consumers. */
final class Consuming {
    private Consuming() {
    }

    static void addTo(Suite suite, Stage stage) {
        suite.add("a-message-that-fails-comes-again", () -> failedComesAgain(stage));
        suite.add("two-consumers-share-a-topic", () -> consumersShare(stage));
        suite.add("messages-of-a-key-keep-their-order", () -> orderIsKept(stage));
        suite.add("tags-choose-messages", () -> tagsChoose(stage));
        suite.add("sql-chooses-messages", () -> sqlChooses(stage));
        suite.add("broadcast-reaches-every-consumer", () -> broadcastReachesAll(stage));
    }

    private static void failedComesAgain(Stage stage) throws Exception {
        String topic = stage.topic("again");
        DefaultMQPushConsumer consumer = stage.consumer(stage.unique("again"));
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            messages.forEach(inbox::add);
            return messages.get(0).getReconsumeTimes() == 0
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Stage.send(stage.producer(), message(topic, "t", "stubborn"));
        List<Message> came = inbox.await(2);
        equal(List.of("stubborn", "stubborn"), inbox.bodies());
        equal(1, ((MessageExt) came.get(1)).getReconsumeTimes());
        equal(topic, came.get(1).getTopic());
    }

    private static void consumersShare(Stage stage) throws Exception {
        String topic = stage.topic("shared");
        String group = stage.unique("shared");
        Inbox one = stage.listen(topic, group, "*");
        Inbox other = stage.listen(topic, group, "*");
        DefaultMQProducer producer = stage.producer();
        int sent = 0;
        // Until both have queues.
        while (one.bodies().isEmpty() || other.bodies().isEmpty()) {
            Stage.send(producer, message(topic, "t", "message " + sent++));
            Thread.sleep(20);
            if (sent > 4_000) {
                throw new AssertionError("one consumer has it all: " + one.bodies().size() + ", " + other.bodies().size());
            }
        }
        long deadline = System.nanoTime() + Inbox.PATIENCE_MS * 1_000_000;
        while (System.nanoTime() < deadline) {
            List<String> all = new ArrayList<>(one.bodies());
            all.addAll(other.bodies());
            // Queues that change hands bring some twice.
            if (all.stream().distinct().count() == sent) {
                return;
            }
            Thread.sleep(50);
        }
        throw new AssertionError("of " + sent + " came " + one.bodies() + " and " + other.bodies());
    }

    private static void orderIsKept(Stage stage) throws Exception {
        String topic = stage.topic("order");
        DefaultMQPushConsumer consumer = stage.consumer(stage.unique("order"));
        consumer.subscribe(topic, "*");
        consumer.setSuspendCurrentQueueTimeMillis(100);
        Inbox inbox = new Inbox();
        AtomicBoolean hasFailed = new AtomicBoolean();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            if (Inbox.body(messages.get(0)).equals("b2") && hasFailed.compareAndSet(false, true)) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            messages.forEach(inbox::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = stage.producer();
        for (int number = 0; number < 5; number++) {
            for (String key : List.of("a", "b", "c")) {
                Stage.stored(producer.send(message(topic, "t", key + number), new SelectMessageQueueByHash(), key));
            }
        }
        inbox.await(15);
        for (String key : List.of("a", "b", "c")) {
            List<String> ofKey = new ArrayList<>(inbox.bodies());
            ofKey.removeIf(body -> !body.startsWith(key));
            equal(List.of(key + 0, key + 1, key + 2, key + 3, key + 4), ofKey);
        }
        equal(true, hasFailed.get());
    }

    private static void tagsChoose(Stage stage) throws Exception {
        String topic = stage.topic("tags");
        DefaultMQProducer producer = stage.producer();
        for (String tag : List.of("red", "green", "blue")) {
            Stage.send(producer, message(topic, tag, tag));
        }
        Inbox inbox = stage.listen(topic, stage.unique("tags"), "red || blue");
        inbox.await(2);
        Stage.send(producer, message(topic, "green", "another green"));
        Stage.send(producer, message(topic, "red", "last"));
        inbox.awaitBodies("last");
        equal(Stage.sorted(new ArrayList<>(List.of("blue", "last", "red"))), Stage.sorted(new ArrayList<>(inbox.bodies())));
    }

    private static void sqlChooses(Stage stage) throws Exception {
        String topic = stage.topic("sql");
        DefaultMQProducer producer = stage.producer();
        for (int size = 0; size < 6; size++) {
            Message message = message(topic, size % 2 == 0 ? "even" : "odd", "size " + size);
            message.putUserProperty("size", String.valueOf(size));
            Stage.send(producer, message);
        }
        DefaultMQPushConsumer consumer = stage.consumer(stage.unique("sql"));
        consumer.subscribe(topic, MessageSelector.bySql("TAGS = 'even' AND size BETWEEN 1 AND 5 OR size IS NULL"));
        Inbox inbox = stage.listen(consumer);
        inbox.await(2);
        Stage.send(producer, message(topic, "odd", "no size"));
        inbox.awaitBodies("no size");
        equal(List.of("no size", "size 2", "size 4"), Stage.sorted(new ArrayList<>(inbox.bodies())));
    }

    private static void broadcastReachesAll(Stage stage) throws Exception {
        String topic = stage.topic("all");
        String group = stage.unique("all");
        List<Inbox> inboxes = new ArrayList<>();
        for (int count = 0; count < 2; count++) {
            DefaultMQPushConsumer consumer = stage.consumer(group);
            consumer.subscribe(topic, "*");
            stage.version.broadcast(consumer);
            inboxes.add(stage.listen(consumer));
        }
        DefaultMQProducer producer = stage.producer();
        for (int number = 0; number < 8; number++) {
            Stage.send(producer, message(topic, "t", "message " + number));
        }
        for (Inbox inbox : inboxes) {
            inbox.await(8);
            equal(8L, inbox.bodies().stream().distinct().count());
        }
    }
}
