package apogee.mqadmin;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/** What ran beside the tool when the transcripts were made: two consumers of a topic and a producer with trace. */
final class LiveClients {
    private static final String TOPIC = "AdminTopic";
    private static final String CLIENT_IP = "192.0.2.2";
    private static final int SENT_AT_ONCE = 40;
    private static final int ROUTE_SECONDS_MAX = 30;

    private final String nameserver;
    private final DefaultMQProducer producer;
    private final ScheduledExecutorService sending = Executors.newSingleThreadScheduledExecutor();
    private final AtomicInteger sent = new AtomicInteger();
    private DefaultMQPushConsumer concurrent;
    private DefaultMQPushConsumer orderly;
    private Map<String, String> firstSent;

    private LiveClients(String nameserver) {
        this.nameserver = nameserver;
        this.producer = new DefaultMQProducer("PG_admin");
    }

    static LiveClients start(String nameserver) throws Exception {
        LiveClients clients = new LiveClients(nameserver);
        clients.startProducer();
        clients.makeGroup("CG_admin");
        clients.makeGroup("CG_admin_order");
        clients.concurrent = clients.consumer("CG_admin", "c1");
        clients.concurrent.registerMessageListener(
            (MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        clients.concurrent.start();
        clients.orderly = clients.consumer("CG_admin_order", "c2");
        clients.orderly.registerMessageListener(
            (MessageListenerOrderly) (messages, context) -> ConsumeOrderlyStatus.SUCCESS);
        clients.orderly.start();
        clients.sending.scheduleWithFixedDelay(clients::sendOrComplain, 1, 1, TimeUnit.SECONDS);
        return clients;
    }

    Map<String, String> firstSent() {
        return firstSent;
    }

    void stop() {
        sending.shutdownNow();
        concurrent.shutdown();
        orderly.shutdown();
        producer.shutdown();
    }

    private void startProducer() throws Exception {
        producer.setNamesrvAddr(nameserver);
        producer.setClientIP(CLIENT_IP);
        producer.setEnableTrace(true);
        producer.start();
        SendResult first = send();
        firstSent = Map.of(
            "uniqueId", first.getMsgId(),
            "offsetId", first.getOffsetMsgId(),
            "queue", String.valueOf(first.getMessageQueue().getQueueId()),
            "offset", String.valueOf(first.getQueueOffset()));
        for (int more = 1; more < SENT_AT_ONCE; more++) {
            send();
        }
    }

    /** Whoever starts before its retry topic has a route has no queue of it for half a minute. */
    private void makeGroup(String group) throws Exception {
        DefaultMQPushConsumer before = consumer(group, "before");
        before.registerMessageListener(
            (MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER);
        before.suspend();
        before.start();
        before.shutdown();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(ROUTE_SECONDS_MAX);
        while (true) {
            try {
                producer.fetchPublishMessageQueues("%RETRY%" + group);
                return;
            } catch (MQClientException noRoute) {
                if (System.nanoTime() > deadline) {
                    throw noRoute;
                }
                TimeUnit.MILLISECONDS.sleep(20);
            }
        }
    }

    private DefaultMQPushConsumer consumer(String group, String instance) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(nameserver);
        consumer.setClientIP(CLIENT_IP);
        consumer.setInstanceName(instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(TOPIC, "*");
        return consumer;
    }

    private SendResult send() throws Exception {
        int number = sent.getAndIncrement();
        byte[] body = ("admin " + number).getBytes(StandardCharsets.UTF_8);
        // First both tags in every queue, later each in a half of them: messages take turns among four queues.
        boolean isFirstTag = number < SENT_AT_ONCE ? number % 3 == 0 : number % 2 == 0;
        String tag = isFirstTag ? "TagA" : "TagB";
        return producer.send(new Message(TOPIC, tag, "ak" + number, body));
    }

    private void sendOrComplain() {
        try {
            send();
        } catch (Exception failure) {
            // The topic may not be written for a moment, while a command says so.
            if (!Thread.currentThread().isInterrupted()) {
                sent.decrementAndGet();
            }
        }
    }
}
