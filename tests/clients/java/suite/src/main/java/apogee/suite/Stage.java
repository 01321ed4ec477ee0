package apogee.suite;

import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Makes clients for the checks. They live as long as the program; a client that a check ends, it ends itself. */
final class Stage {
    private static final int QUEUES = 4;
    /** For a machine on which all checks of several programs begin at once. */
    private static final int ANSWER_MS = 30_000;

    final String nameserver;
    final ClientVersion version;
    final DefaultMQAdminExt admin;
    private final String run = UUID.randomUUID().toString().substring(0, 8);
    private final AtomicInteger count = new AtomicInteger();

    Stage(String nameserver, ClientVersion version) throws Exception {
        this.nameserver = nameserver;
        this.version = version;
        admin = new DefaultMQAdminExt(unique("admin"), ANSWER_MS);
        admin.setNamesrvAddr(nameserver);
        admin.setInstanceName(unique("admin"));
        admin.start();
    }

    /** A name that nobody else has. */
    String unique(String name) {
        return name + "-" + run + "-" + count.incrementAndGet();
    }

    /** A topic that consumers find at their start. */
    String topic(String name) throws Exception {
        String topic = unique(name);
        version.createTopic(admin, topic, QUEUES);
        awaitRoute(topic);
        return topic;
    }

    /** Waits until the nameserver knows a topic. It hears of new ones a moment after the broker has them. */
    void awaitRoute(String topic) throws Exception {
        long deadline = System.nanoTime() + Inbox.PATIENCE_MS * 1_000_000;
        while (true) {
            try {
                admin.examineTopicRouteInfo(topic);
                return;
            } catch (MQClientException unknown) {
                Assertions.holds(System.nanoTime() < deadline, unknown);
                Thread.sleep(20);
            }
        }
    }

    DefaultMQProducer producer() throws Exception {
        return start(new DefaultMQProducer(unique("producers")));
    }

    <P extends DefaultMQProducer> P start(P producer) throws Exception {
        producer.setNamesrvAddr(nameserver);
        producer.setInstanceName(unique("producer"));
        producer.setSendMsgTimeout(ANSWER_MS);
        producer.setMqClientApiTimeout(ANSWER_MS);
        producer.start();
        return producer;
    }

    /** A push consumer that begins with the first message; to be given a listener and started. */
    DefaultMQPushConsumer consumer(String group) {
        return prepare(new DefaultMQPushConsumer(group));
    }

    DefaultMQPushConsumer prepare(DefaultMQPushConsumer consumer) {
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(unique("consumer"));
        consumer.setMqClientApiTimeout(ANSWER_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return consumer;
    }

    /** Starts a push consumer of a topic. */
    Inbox listen(String topic, String group, String tags) throws Exception {
        DefaultMQPushConsumer consumer = consumer(group);
        consumer.subscribe(topic, tags);
        return listen(consumer);
    }

    /** Starts a consumer that takes every message into an inbox. */
    Inbox listen(DefaultMQPushConsumer consumer) throws Exception {
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(inbox::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return inbox;
    }

    DefaultLitePullConsumer puller(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(unique("puller"));
        consumer.setMqClientApiTimeout(ANSWER_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return consumer;
    }

    static Message message(String topic, String tag, String body) {
        return new Message(topic, tag, body.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    /** Sends, and fails unless the message is stored. */
    static SendResult send(DefaultMQProducer producer, Message message) throws Exception {
        return stored(producer.send(message));
    }

    static SendResult stored(SendResult result) {
        Assertions.equal(SendStatus.SEND_OK, result.getSendStatus());
        return result;
    }

    static <T extends Comparable<T>> List<T> sorted(List<T> list) {
        list.sort(null);
        return list;
    }
}
