package apogee.grpc;

import apogee.acting.Acting;
import apogee.acting.Wire;
import java.io.Closeable;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.ProducerBuilder;
import org.apache.rocketmq.client.apis.producer.SendReceipt;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;

/** The official Java client for gRPC as an actor of the scenarios: {@code HOST:PORT [tls]}. */
public final class Main implements Acting.Actor {
    private final Acting acting = new Acting();
    private final ClientServiceProvider provider = ClientServiceProvider.loadService();
    private final ClientConfiguration configuration;
    private final Map<String, Closeable> clients = new ConcurrentHashMap<>();
    private final Map<String, Transaction> transactions = new ConcurrentHashMap<>();
    private final Map<String, MessageView> received = new ConcurrentHashMap<>();
    private final AtomicLong receipts = new AtomicLong();

    private Main(String endpoint, boolean encrypted) {
        configuration = ClientConfiguration.newBuilder().setEndpoints(endpoint).enableSsl(encrypted).build();
    }

    public static void main(String[] arguments) throws Exception {
        Main actor = new Main(arguments[0], arguments.length == 2 && arguments[1].equals("tls"));
        actor.acting.serve(actor);
    }

    @Override
    public Wire.Report perform(Wire.Order order) throws Exception {
        switch (order.what) {
            case "start-producer":
                clients.put(order.name, producer(order));
                return new Wire.Report();
            case "start-simple":
                clients.put(order.name, provider.newSimpleConsumerBuilder().setClientConfiguration(configuration)
                    .setConsumerGroup(order.group).setAwaitDuration(Duration.ofMillis(order.await_ms))
                    .setSubscriptionExpressions(filters(order)).build());
                return new Wire.Report();
            case "start-push":
                clients.put(order.name, provider.newPushConsumerBuilder().setClientConfiguration(configuration)
                    .setConsumerGroup(order.group).setSubscriptionExpressions(filters(order))
                    .setMessageListener(view -> acting.ask(order.name, fromClient(view)).equals("success")
                        ? ConsumeResult.SUCCESS : ConsumeResult.FAILURE).build());
                return new Wire.Report();
            case "stop":
                clients.remove(order.name).close();
                return new Wire.Report();
            case "send":
                return sent(((Producer) clients.get(order.name)).send(toClient(order.message)));
            case "send-half":
                return sendHalf(order);
            case "end":
                end(order);
                return new Wire.Report();
            case "recall":
                return Wire.Report.sent(((Producer) clients.get(order.name))
                    .recallMessage(order.topic, order.handle).getMessageId().toString(), null);
            case "receive":
                return receive(order);
            case "ack":
                ((SimpleConsumer) clients.get(order.name)).ack(received.get(order.receipt));
                return new Wire.Report();
            case "change-invisible":
                ((SimpleConsumer) clients.get(order.name)).changeInvisibleDuration(
                    received.get(order.receipt), Duration.ofMillis(order.invisible_ms));
                return new Wire.Report();
            default:
                throw new IllegalArgumentException("unknown order " + order.what);
        }
    }

    private Producer producer(Wire.Order order) throws Exception {
        ProducerBuilder builder = provider.newProducerBuilder().setClientConfiguration(configuration)
            .setTopics(order.topics.toArray(new String[0]));
        if (order.checks) {
            builder.setTransactionChecker(view -> {
                switch (acting.ask(order.name, fromClient(view))) {
                    case "commit":
                        return TransactionResolution.COMMIT;
                    case "rollback":
                        return TransactionResolution.ROLLBACK;
                    default:
                        return TransactionResolution.UNKNOWN;
                }
            });
        }
        return builder.build();
    }

    private Wire.Report sendHalf(Wire.Order order) throws Exception {
        Producer producer = (Producer) clients.get(order.name);
        Transaction transaction = producer.beginTransaction();
        transactions.put(order.transaction, transaction);
        return sent(producer.send(toClient(order.message), transaction));
    }

    private void end(Wire.Order order) throws Exception {
        Transaction transaction = transactions.get(order.transaction);
        if (order.outcome.equals("commit")) {
            transaction.commit();
        } else {
            transaction.rollback();
        }
    }

    private Wire.Report receive(Wire.Order order) throws Exception {
        Wire.Report report = new Wire.Report();
        report.messages = new ArrayList<>();
        SimpleConsumer consumer = (SimpleConsumer) clients.get(order.name);
        for (MessageView view : consumer.receive(order.max, Duration.ofMillis(order.invisible_ms))) {
            Wire.Message message = fromClient(view);
            message.receipt = String.valueOf(receipts.incrementAndGet());
            received.put(message.receipt, view);
            report.messages.add(message);
        }
        return report;
    }

    private static Wire.Report sent(SendReceipt receipt) {
        return Wire.Report.sent(receipt.getMessageId().toString(), receipt.getRecallHandle());
    }

    private static Map<String, FilterExpression> filters(Wire.Order order) {
        Map<String, FilterExpression> filters = new HashMap<>();
        for (Wire.Subscription subscription : order.subscriptions) {
            FilterExpressionType type = subscription.sql ? FilterExpressionType.SQL92 : FilterExpressionType.TAG;
            filters.put(subscription.topic, new FilterExpression(subscription.expression, type));
        }
        return filters;
    }

    private Message toClient(Wire.Message said) {
        MessageBuilder builder = provider.newMessageBuilder().setTopic(said.topic)
            .setBody(Base64.getDecoder().decode(said.body)).setKeys(said.keys.toArray(new String[0]));
        if (said.tag != null) {
            builder.setTag(said.tag);
        }
        said.properties.forEach(builder::addProperty);
        if (said.group != null) {
            builder.setMessageGroup(said.group);
        }
        if (said.deliver_at_ms != 0) {
            builder.setDeliveryTimestamp(said.deliver_at_ms);
        }
        return builder.build();
    }

    private static Wire.Message fromClient(MessageView view) {
        Wire.Message message = new Wire.Message();
        message.topic = view.getTopic();
        byte[] body = new byte[view.getBody().remaining()];
        view.getBody().get(body);
        message.body = Base64.getEncoder().encodeToString(body);
        message.tag = view.getTag().orElse("");
        message.keys = List.copyOf(view.getKeys());
        message.properties = view.getProperties();
        message.group = view.getMessageGroup().orElse("");
        message.deliver_at_ms = view.getDeliveryTimestamp().orElse(0L);
        message.id = view.getMessageId().toString();
        message.attempt = view.getDeliveryAttempt();
        message.born_ms = view.getBornTimestamp();
        message.at_ms = System.currentTimeMillis();
        return message;
    }

    @Override
    public int codeOf(Throwable error) {
        // The client puts the code into the text of its exceptions: [request-id=…, response-code=40012] …
        String text = String.valueOf(error), mark = "response-code=";
        int start = text.indexOf(mark);
        if (start < 0) {
            return 0;
        }
        int end = text.indexOf(']', start);
        return Integer.parseInt(text.substring(start + mark.length(), end));
    }

    @Override
    public void close() {
        for (Closeable client : clients.values()) {
            try {
                client.close();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }
    }
}
