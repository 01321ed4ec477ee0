package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Assertions.holds;
import static apogee.suite.Stage.message;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What operators do to consumers: resets of offsets, questions. */
final class Operating {
    private static final int MESSAGES = 8;

    private Operating() {
    }

    static void addTo(Suite suite, Stage stage) {
        suite.add("offsets-are-reset-while-a-push-consumer-runs", () -> pushIsReset(stage));
        suite.add("offsets-are-reset-while-a-lite-pull-consumer-runs", () -> pullIsReset(stage));
        suite.add("offsets-are-reset-while-nobody-consumes", () -> absentIsReset(stage));
        suite.add("what-accumulated-is-skipped", () -> accumulatedIsSkipped(stage));
        suite.add("stacks-of-a-consumer-come-through-the-broker", () -> stacksCome(stage));
        suite.add("a-message-is-consumed-by-the-consumer-that-is-named", () -> namedConsumes(stage));
        suite.add("a-group-says-how-far-it-has-come", () -> statusComes(stage));
    }

    private static void send(Stage stage, String topic) throws Exception {
        DefaultMQProducer producer = stage.producer();
        for (int number = 0; number < MESSAGES; number++) {
            Stage.send(producer, message(topic, "t", "message " + number));
        }
        producer.shutdown();
    }

    private static void pushIsReset(Stage stage) throws Exception {
        String topic = stage.topic("rewound");
        String group = stage.unique("rewound");
        send(stage, topic);
        Inbox inbox = stage.listen(topic, group, "*");
        inbox.await(MESSAGES);
        Map<MessageQueue, Long> offsets = stage.admin.resetOffsetByTimestamp(topic, group, 0, true);
        equal(4, offsets.size());
        offsets.values().forEach(offset -> equal(0L, offset));
        inbox.await(2 * MESSAGES);
        equal((long) MESSAGES, inbox.bodies().stream().distinct().count());
    }

    private static void pullIsReset(Stage stage) throws Exception {
        String topic = stage.topic("pulled");
        String group = stage.unique("pulled");
        send(stage, topic);
        DefaultLitePullConsumer consumer = stage.puller(group);
        consumer.subscribe(topic, "*");
        consumer.start();
        poll(consumer, MESSAGES);
        stage.admin.resetOffsetByTimestamp(topic, group, 0, true);
        poll(consumer, MESSAGES);
        consumer.shutdown();
    }

    private static void poll(DefaultLitePullConsumer consumer, int count) {
        long deadline = System.nanoTime() + 60_000_000_000L;
        int came = 0;
        while (came < count) {
            came += consumer.poll(1_000).size();
            holds(System.nanoTime() < deadline, came);
        }
    }

    private static void absentIsReset(Stage stage) throws Exception {
        String topic = stage.topic("resumed");
        String group = stage.unique("resumed");
        send(stage, topic);
        DefaultMQPushConsumer consumer = stage.consumer(group);
        consumer.subscribe(topic, "*");
        stage.listen(consumer).await(MESSAGES);
        consumer.shutdown();
        stage.admin.resetOffsetByTimestamp(topic, group, 0, true);
        stage.listen(topic, group, "*").await(MESSAGES);
    }

    private static void accumulatedIsSkipped(Stage stage) throws Exception {
        String topic = stage.topic("skipped");
        String group = stage.unique("skipped");
        // The group has to be there, and is with the first heartbeat. A client that finds no route at its start, or
        // whose answer is late, sends that one with its next round only.
        DefaultMQPushConsumer first = stage.consumer(group);
        first.subscribe(topic, "*");
        stage.listen(first);
        awaitKnown(stage, first);
        first.shutdown();
        send(stage, topic);
        stage.admin.resetOffsetByTimestamp(topic, group, -1, true);
        Inbox inbox = stage.listen(topic, group, "*");
        Stage.send(stage.producer(), message(topic, "t", "new"));
        inbox.awaitBodies("new");
        holds(inbox.bodies().size() == 1, inbox.bodies());
    }

    private static void stacksCome(Stage stage) throws Exception {
        String topic = stage.topic("stacks");
        DefaultMQPushConsumer consumer = stage.consumer(stage.unique("stacks"));
        consumer.subscribe(topic, "*");
        stage.listen(consumer);
        awaitKnown(stage, consumer);
        String stacks = stage.version.stacksOf(stage.admin, consumer.getConsumerGroup(), clientId(consumer));
        holds(stacks.contains("PullMessageService"), stacks);
    }

    private static void namedConsumes(Stage stage) throws Exception {
        String topic = stage.topic("named");
        DefaultMQPushConsumer consumer = stage.consumer(stage.unique("named"));
        consumer.subscribe(topic, "*");
        Inbox inbox = stage.listen(consumer);
        SendResult sent = Stage.send(stage.producer(), message(topic, "t", "twice"));
        inbox.await(1);
        awaitKnown(stage, consumer);
        String result = stage.version.consumeDirectly(
            stage.admin, consumer.getConsumerGroup(), clientId(consumer), topic, sent.getOffsetMsgId());
        equal("CR_SUCCESS", result);
        List<?> came = inbox.await(2);
        // What clients 4.9 take for its id here is its offset id.
        equal(sent.getMsgId(), ((MessageExt) came.get(1)).getProperty("UNIQ_KEY"));
    }

    private static void statusComes(Stage stage) throws Exception {
        String topic = stage.topic("status");
        DefaultMQPushConsumer consumer = stage.consumer(stage.unique("status"));
        consumer.subscribe(topic, "*");
        send(stage, topic);
        stage.listen(consumer).await(MESSAGES);
        awaitKnown(stage, consumer);
        // The client counts a message a moment after its listener had it.
        long deadline = System.nanoTime() + Inbox.PATIENCE_MS * 1_000_000;
        long consumed = consumed(stage, topic, consumer);
        while (consumed < MESSAGES && System.nanoTime() < deadline) {
            Thread.sleep(20);
            consumed = consumed(stage, topic, consumer);
        }
        equal((long) MESSAGES, consumed);
    }

    private static long consumed(Stage stage, String topic, DefaultMQPushConsumer consumer) throws Exception {
        Map<String, Map<MessageQueue, Long>> status =
            stage.admin.getConsumeStatus(topic, consumer.getConsumerGroup(), clientId(consumer));
        return status.get(clientId(consumer)).values().stream().mapToLong(Long::longValue).sum();
    }

    /** Tools find the brokers of a group by its retry topic. */
    private static void awaitKnown(Stage stage, DefaultMQPushConsumer consumer) throws Exception {
        stage.awaitRoute("%RETRY%" + consumer.getConsumerGroup());
    }

    private static String clientId(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
    }
}
