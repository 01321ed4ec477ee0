package apogee.suite;

import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQLocalRequestCallback;
import org.apache.rocketmq.spring.core.RocketMQReplyListener;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.springframework.boot.Banner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.stereotype.Component;

/** An application of Spring Boot that sends, listens, asks and replies by the official starter. */
@SpringBootApplication
public class Spring {
    private static final long REPLY_MS = Inbox.PATIENCE_MS;

    private static final Inbox TEXTS = new Inbox();
    private static final Inbox PAID = new Inbox();

    /** Arguments: address of the nameserver. */
    public static void main(String[] arguments) throws Exception {
        Suite suite = new Suite();
        // Logs are none of the reports.
        System.setOut(System.err);
        String run = UUID.randomUUID().toString().substring(0, 8);
        Map<String, Object> settings = Map.of(
            "rocketmq.name-server", arguments[0],
            "rocketmq.producer.group", "spring-" + run,
            "topics.texts", "spring-texts-" + run,
            "topics.orders", "spring-orders-" + run,
            "topics.questions", "spring-questions-" + run);
        createTopics(arguments[0], settings);
        SpringApplication application = new SpringApplication(Spring.class);
        application.setBannerMode(Banner.Mode.OFF);
        application.setDefaultProperties(settings);
        RocketMQTemplate template = application.run().getBean(RocketMQTemplate.class);
        suite.add("a-text-reaches-its-listener", () -> {
            var result = template.syncSend((String) settings.get("topics.texts"), "hello from Spring");
            Assertions.equal(SendStatus.SEND_OK, result.getSendStatus());
            TEXTS.awaitBodies("hello from Spring");
        });
        suite.add("an-object-reaches-the-listener-of-its-tag", () -> {
            template.convertAndSend(settings.get("topics.orders") + ":open", new Order("a", 1));
            template.convertAndSend(settings.get("topics.orders") + ":paid", new Order("b", 2));
            PAID.await(1);
            Assertions.equal(List.of("b costs 2"), PAID.bodies());
        });
        suite.add("a-question-gets-its-reply", () -> {
            CompletableFuture<String> reply = new CompletableFuture<>();
            var question = MessageBuilder.withPayload("how are you?").build();
            template.sendAndReceive((String) settings.get("topics.questions"), question, new ReplyTo(reply), REPLY_MS);
            Assertions.equal("you asked: how are you?", reply.get(REPLY_MS, TimeUnit.MILLISECONDS));
        });
        suite.run();
        System.exit(0);
    }

    private static void createTopics(String nameserver, Map<String, Object> settings) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("spring-topics");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        for (String name : List.of("topics.texts", "topics.orders", "topics.questions")) {
            String topic = (String) settings.get(name);
            producer.createTopic("TBW102", topic, 2, Map.of());
            awaitQueues(producer, topic);
        }
        producer.shutdown();
    }

    /** Listeners that find no route at their start look again after half a minute only. */
    private static void awaitQueues(DefaultMQProducer producer, String topic) throws Exception {
        long deadline = System.nanoTime() + Inbox.PATIENCE_MS * 1_000_000;
        while (true) {
            try {
                producer.fetchPublishMessageQueues(topic);
                return;
            } catch (MQClientException unknown) {
                Assertions.holds(System.nanoTime() < deadline, unknown);
                Thread.sleep(20);
            }
        }
    }

    private static Message message(String body) {
        return new Message("", body.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    /** The client 5.3.2, which the starter brings, does not wait for a reply, and calls back when the request is sent, too. */
    private static final class ReplyTo implements RocketMQLocalRequestCallback<String> {
        private final CompletableFuture<String> reply;

        ReplyTo(CompletableFuture<String> reply) {
            this.reply = reply;
        }

        @Override
        public void onSuccess(String text) {
            if (text != null) {
                reply.complete(text);
            }
        }

        @Override
        public void onException(Throwable error) {
            reply.completeExceptionally(error);
        }
    }

    /** What is sent as JSON. */
    public static class Order {
        /** Name. */
        public String name;
        /** Price. */
        public int price;

        /** For JSON. */
        public Order() {
        }

        Order(String name, int price) {
            this.name = name;
            this.price = price;
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${topics.texts}", consumerGroup = "${topics.texts}")
    static class Texts implements RocketMQListener<String> {
        @Override
        public void onMessage(String text) {
            TEXTS.add(message(text));
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${topics.orders}", consumerGroup = "${topics.orders}", selectorExpression = "paid")
    static class PaidOrders implements RocketMQListener<Order> {
        @Override
        public void onMessage(Order order) {
            PAID.add(message(order.name + " costs " + order.price));
        }
    }

    @Component
    @RocketMQMessageListener(topic = "${topics.questions}", consumerGroup = "${topics.questions}")
    static class Questions implements RocketMQReplyListener<String, String> {
        @Override
        public String onMessage(String question) {
            return "you asked: " + question;
        }
    }
}
