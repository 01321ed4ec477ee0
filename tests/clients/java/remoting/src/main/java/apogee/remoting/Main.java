package apogee.remoting;

import apogee.acting.Acting;
import apogee.acting.Wire;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/** The official Java client for remoting as an actor of the scenarios: {@code NAMESERVER}. */
public final class Main implements Acting.Actor {
    private final Acting acting = new Acting();
    private final String nameserver;
    private final Map<String, DefaultMQProducer> producers = new ConcurrentHashMap<>();
    private final Map<String, DefaultMQPushConsumer> consumers = new ConcurrentHashMap<>();

    private Main(String nameserver) {
        this.nameserver = nameserver;
    }

    public static void main(String[] arguments) throws Exception {
        Main actor = new Main(arguments[0]);
        actor.acting.serve(actor);
    }

    @Override
    public Wire.Report perform(Wire.Order order) throws Exception {
        switch (order.what) {
            case "start-producer":
                startProducer(order);
                return new Wire.Report();
            case "start-push":
                startPush(order);
                return new Wire.Report();
            case "stop":
                stop(order.name);
                return new Wire.Report();
            case "send":
                return send(order);
            case "send-in-transaction":
                return sent(producers.get(order.name).sendMessageInTransaction(toClient(order.message), order.outcome));
            case "recall":
                return Wire.Report.sent(producers.get(order.name).recallMessage(order.topic, order.handle), null);
            default:
                throw new IllegalArgumentException("unknown order " + order.what);
        }
    }

    private void startProducer(Wire.Order order) throws Exception {
        DefaultMQProducer producer;
        if (order.checks) {
            TransactionMQProducer transactional = new TransactionMQProducer(order.group);
            transactional.setTransactionListener(new Listener(order.name));
            producer = transactional;
        } else {
            producer = new DefaultMQProducer(order.group);
        }
        producer.setNamesrvAddr(nameserver);
        producer.setInstanceName(order.name);
        producers.put(order.name, producer);
        producer.start();
    }

    private Wire.Report send(Wire.Order order) throws Exception {
        DefaultMQProducer producer = producers.get(order.name);
        Message message = toClient(order.message);
        if (order.message.group == null) {
            return sent(producer.send(message));
        }
        return sent(producer.send(message, new SelectMessageQueueByHash(), order.message.group));
    }

    private static Wire.Report sent(SendResult result) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException("the send ended as " + result);
        }
        return Wire.Report.sent(result.getMsgId(), result.getRecallHandle());
    }

    private void startPush(Wire.Order order) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(order.group);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(order.name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeMessageBatchMaxSize(1);
        for (Wire.Subscription to : order.subscriptions) {
            consumer.subscribe(to.topic, to.sql ? MessageSelector.bySql(to.expression) : MessageSelector.byTag(to.expression));
        }
        if (order.ordered) {
            consumer.setMessageListener((MessageListenerOrderly) (messages, context) -> succeeds(order, messages)
                ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> succeeds(order, messages)
                ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        consumers.put(order.name, consumer);
        consumer.start();
    }

    private boolean succeeds(Wire.Order order, List<MessageExt> messages) {
        return acting.ask(order.name, fromClient(messages.get(0))).equals("success");
    }

    private void stop(String name) {
        DefaultMQProducer producer = producers.remove(name);
        if (producer != null) {
            producer.shutdown();
        } else {
            consumers.remove(name).shutdown();
        }
    }

    /** Answers for local transactions as it was told. */
    private final class Listener implements TransactionListener {
        private final String name;

        Listener(String name) {
            this.name = name;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object outcome) {
            return state((String) outcome);
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return state(acting.ask(name, fromClient(message)));
        }

        private LocalTransactionState state(String outcome) {
            switch (outcome) {
                case "commit":
                    return LocalTransactionState.COMMIT_MESSAGE;
                case "rollback":
                    return LocalTransactionState.ROLLBACK_MESSAGE;
                default:
                    return LocalTransactionState.UNKNOW;
            }
        }
    }

    private static Message toClient(Wire.Message said) {
        Message message = new Message(said.topic, Base64.getDecoder().decode(said.body));
        if (said.tag != null) {
            message.setTags(said.tag);
        }
        if (!said.keys.isEmpty()) {
            message.setKeys(said.keys);
        }
        said.properties.forEach(message::putUserProperty);
        if (said.group != null) {
            message.putUserProperty(MessageConst.PROPERTY_SHARDING_KEY, said.group);
        }
        if (said.deliver_at_ms != 0) {
            message.setDeliverTimeMs(said.deliver_at_ms);
        }
        if (said.delay_level != 0) {
            message.setDelayTimeLevel(said.delay_level);
        }
        return message;
    }

    private static Wire.Message fromClient(MessageExt received) {
        Wire.Message message = new Wire.Message();
        message.topic = received.getTopic();
        message.body = Base64.getEncoder().encodeToString(received.getBody());
        message.tag = received.getTags();
        message.keys = received.getKeys() == null ? List.of() : List.of(received.getKeys().split(" "));
        message.properties = received.getProperties();
        message.group = received.getProperty(MessageConst.PROPERTY_SHARDING_KEY);
        message.id = received.getMsgId();
        message.attempt = received.getReconsumeTimes() + 1;
        message.born_ms = received.getBornTimestamp();
        message.at_ms = System.currentTimeMillis();
        return message;
    }

    @Override
    public int codeOf(Throwable error) {
        if (error instanceof MQBrokerException) {
            return ((MQBrokerException) error).getResponseCode();
        }
        return error instanceof MQClientException ? ((MQClientException) error).getResponseCode() : 0;
    }

    @Override
    public void close() {
        producers.values().forEach(DefaultMQProducer::shutdown);
        consumers.values().forEach(DefaultMQPushConsumer::shutdown);
    }
}
