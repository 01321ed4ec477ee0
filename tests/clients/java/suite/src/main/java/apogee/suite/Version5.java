package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Assertions.holds;
import static apogee.suite.Stage.message;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The client 5. */
public final class Version5 implements ClientVersion {
    /** Codes of pops do not fit the binary header, so the client offers them with JSON only. */
    private static final boolean HAS_POPS = !"ROCKETMQ".equals(System.getProperty("rocketmq.serialize.type"));

    public static void main(String[] arguments) throws Exception {
        Checks.run(new Version5(), arguments);
    }

    @Override
    public void createTopic(DefaultMQAdminExt admin, String topic, int queues) throws Exception {
        admin.createTopic("TBW102", topic, queues, Map.of());
    }

    @Override
    public void broadcast(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    @Override
    public String stacksOf(DefaultMQAdminExt admin, String group, String clientId) throws Exception {
        return admin.getConsumerRunningInfo(group, clientId, true).getJstack();
    }

    @Override
    public String consumeDirectly(DefaultMQAdminExt admin, String group, String clientId, String topic, String messageId)
        throws Exception {
        return admin.consumeMessageDirectly(group, clientId, topic, messageId).getConsumeResult().name();
    }

    @Override
    public void addOwn(Suite suite, Stage stage) {
        suite.add("timers-deliver-at-their-time", () -> timersDeliver(stage));
        suite.add("a-recalled-message-does-not-come", () -> recalledStays(stage));
        suite.add("bodies-compressed-by-zstd-and-lz4-arrive", () -> newCompressionsArrive(stage));
        if (HAS_POPS) {
            suite.add("a-consumer-in-pop-mode-gets-what-is-sent-and-what-failed-again", () -> popWorks(stage));
            suite.add("offsets-are-reset-while-a-consumer-pops", () -> popIsReset(stage));
        }
    }

    private static void timersDeliver(Stage stage) throws Exception {
        String topic = stage.topic("timers");
        Inbox inbox = stage.listen(topic, stage.unique("timers"), "*");
        DefaultMQProducer producer = stage.producer();
        Message byDelay = message(topic, "t", "by delay");
        byDelay.setDelayTimeMs(3_000);
        Message bySeconds = message(topic, "t", "by seconds");
        bySeconds.setDelayTimeSec(3);
        Message byTime = message(topic, "t", "by time");
        long dueMs = System.currentTimeMillis() + 3_000;
        byTime.setDeliverTimeMs(dueMs);
        for (Message message : List.of(byDelay, bySeconds, byTime)) {
            Stage.send(producer, message);
        }
        for (Message came : inbox.await(3)) {
            // The other two are due that long after the broker had them.
            long earlyMs = dueMs - ((MessageExt) came).getStoreTimestamp();
            holds(earlyMs <= 0, Inbox.body(came) + " came " + earlyMs + " ms too early");
        }
        equal(3L, inbox.bodies().stream().distinct().count());
    }

    private static void recalledStays(Stage stage) throws Exception {
        String topic = stage.topic("recalled");
        Inbox inbox = stage.listen(topic, stage.unique("recalled"), "*");
        DefaultMQProducer producer = stage.producer();
        Message recalled = message(topic, "t", "recalled");
        recalled.setDelayTimeMs(5_000);
        SendResult result = Stage.send(producer, recalled);
        equal(result.getMsgId(), producer.recallMessage(topic, result.getRecallHandle()));
        Message after = message(topic, "t", "after it");
        after.setDelayTimeMs(6_000);
        Stage.send(producer, after);
        inbox.awaitBodies("after it");
        equal(List.of("after it"), inbox.bodies());
    }

    private static void newCompressionsArrive(Stage stage) throws Exception {
        String topic = stage.topic("compressed");
        for (CompressionType type : List.of(CompressionType.ZSTD, CompressionType.LZ4)) {
            DefaultMQProducer producer = stage.producer();
            producer.setCompressType(type);
            Stage.send(producer, message(topic, type.name(), (type.name() + " ").repeat(5_000)));
        }
        Inbox inbox = stage.listen(topic, stage.unique("compressed"), "*");
        for (Message came : inbox.await(2)) {
            equal((came.getTags() + " ").repeat(5_000), Inbox.body(came));
        }
    }

    private static DefaultMQPushConsumer popping(Stage stage, String topic, String group) throws Exception {
        // The brokers of the topic are asked; the first consumer of a group makes it known to them.
        for (var broker : stage.admin.examineTopicRouteInfo(topic).getBrokerDatas()) {
            stage.admin.setMessageRequestMode(broker.selectBrokerAddr(), topic, group, MessageRequestMode.POP, 0, 3_000);
        }
        DefaultMQPushConsumer consumer = stage.consumer(group);
        consumer.subscribe(topic, "*");
        consumer.setClientRebalance(false);
        return consumer;
    }

    private static void popWorks(Stage stage) throws Exception {
        String topic = stage.topic("popped");
        DefaultMQPushConsumer consumer = popping(stage, topic, stage.unique("popped"));
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            messages.forEach(inbox::add);
            boolean fails = messages.get(0).getReconsumeTimes() == 0 && Inbox.body(messages.get(0)).equals("stubborn");
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, message(topic, "t", "easy"));
        Stage.send(producer, message(topic, "t", "stubborn"));
        inbox.await(3);
        equal(List.of("easy", "stubborn", "stubborn"), Stage.sorted(new ArrayList<>(inbox.bodies())));
    }

    private static void popIsReset(Stage stage) throws Exception {
        String topic = stage.topic("repopped");
        String group = stage.unique("repopped");
        Inbox inbox = stage.listen(popping(stage, topic, group));
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, message(topic, "t", "one"));
        Stage.send(producer, message(topic, "t", "two"));
        inbox.await(2);
        stage.admin.resetOffsetByTimestamp(topic, group, 0, true);
        inbox.await(4);
        equal(List.of("one", "one", "two", "two"), Stage.sorted(new ArrayList<>(inbox.bodies())));
    }
}
