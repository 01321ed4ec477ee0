package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Assertions.holds;
import static apogee.suite.Stage.message;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Sends of every kind. */
final class Sending {
    private Sending() {
    }

    static void addTo(Suite suite, Stage stage) {
        suite.add("sync-async-oneway-and-batch-arrive", () -> everyKindArrives(stage));
        suite.add("large-bodies-are-compressed-and-arrive", () -> largeBodyArrives(stage));
        suite.add("everything-a-message-says-arrives", () -> everythingArrives(stage));
        suite.add("a-delay-level-is-kept", () -> delayIsKept(stage));
        suite.add("a-namespace-keeps-topics-apart", () -> namespaceIsKept(stage));
    }

    private static void everyKindArrives(Stage stage) throws Exception {
        String topic = stage.topic("kinds");
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, message(topic, "t", "sync"));
        CompletableFuture<SendResult> sent = new CompletableFuture<>();
        producer.send(message(topic, "t", "async"), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                sent.complete(result);
            }

            @Override
            public void onException(Throwable error) {
                sent.completeExceptionally(error);
            }
        });
        Stage.stored(sent.get(10, TimeUnit.SECONDS));
        producer.sendOneway(message(topic, "t", "oneway"));
        List<Message> batch = new ArrayList<>(List.of(message(topic, "t", "first"), message(topic, "t", "second")));
        SendResult result = Stage.stored(producer.send(batch));
        equal(2, result.getMsgId().split(",").length);
        Inbox inbox = stage.listen(topic, stage.unique("kinds"), "*");
        inbox.awaitBodies("sync", "async", "oneway", "first", "second");
        equal(5, inbox.bodies().size());
    }

    private static void largeBodyArrives(Stage stage) throws Exception {
        String topic = stage.topic("large");
        byte[] text = "what repeats is made small ".repeat(100_000).getBytes();
        byte[] noise = new byte[3_500_000];
        new Random(7).nextBytes(noise);
        DefaultMQProducer producer = stage.producer();
        producer.setSendMsgTimeout(20_000);
        Stage.send(producer, new Message(topic, "text", text));
        Stage.send(producer, new Message(topic, "noise", noise));
        List<Message> came = stage.listen(topic, stage.unique("large"), "*").await(2);
        for (Message message : came) {
            byte[] expected = message.getTags().equals("text") ? text : noise;
            holds(java.util.Arrays.equals(expected, message.getBody()), message.getTags());
        }
    }

    private static void everythingArrives(Stage stage) throws Exception {
        String topic = stage.topic("whole");
        Message message = message(topic, "标签", "grüße 你好 😀");
        message.setKeys(List.of("order-1", "order-2"));
        message.setFlag(42);
        message.putUserProperty("colour", "grün");
        SendResult result = Stage.send(stage.producer(), message);
        MessageExt came = (MessageExt) stage.listen(topic, stage.unique("whole"), "*").await(1).get(0);
        equal("grüße 你好 😀", Inbox.body(came));
        equal("标签", came.getTags());
        equal("order-1 order-2", came.getKeys());
        equal(42, came.getFlag());
        equal("grün", came.getUserProperty("colour"));
        equal(result.getMsgId(), came.getMsgId());
        equal(result.getQueueOffset(), came.getQueueOffset());
        equal(result.getMessageQueue().getQueueId(), came.getQueueId());
        equal(result.getMessageQueue().getBrokerName(), came.getBrokerName());
    }

    private static void delayIsKept(Stage stage) throws Exception {
        String topic = stage.topic("delay");
        Message message = message(topic, "t", "later");
        message.setDelayTimeLevel(2);
        Inbox inbox = stage.listen(topic, stage.unique("delay"), "*");
        Stage.send(stage.producer(), message);
        MessageExt came = (MessageExt) inbox.await(1).get(0);
        long afterMs = came.getStoreTimestamp() - came.getBornTimestamp();
        holds(afterMs >= 4_900, afterMs);
    }

    /** The namespace is part of the names on the wire, and of nothing that an application sees. */
    @SuppressWarnings("deprecation")
    private static void namespaceIsKept(Stage stage) throws Exception {
        String plain = stage.topic("spaced");
        String space = stage.unique("space");
        stage.version.createTopic(stage.admin, space + "%" + plain, 2);
        DefaultMQProducer producer = new DefaultMQProducer(stage.unique("producers"));
        producer.setNamespace(space);
        stage.start(producer);
        var consumer = stage.consumer(stage.unique("spaced"));
        consumer.setNamespace(space);
        consumer.subscribe(plain, "*");
        Inbox inside = stage.listen(consumer);
        Inbox outside = stage.listen(plain, stage.unique("spaced"), "*");
        SendResult result = Stage.send(producer, message(plain, "t", "inside"));
        Stage.send(stage.producer(), message(plain, "t", "outside"));
        Message came = inside.await(1).get(0);
        outside.await(1);
        equal(List.of("inside"), inside.bodies());
        equal(List.of("outside"), outside.bodies());
        equal(plain, came.getTopic());
        equal(plain, result.getMessageQueue().getTopic());
    }
}
