package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Assertions.holds;
import static apogee.suite.Stage.message;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;

/** Requests and their replies. */
final class Requests {
    private static final long REQUEST_MS = Inbox.PATIENCE_MS;
    /** The time counts from before the first connection is there, and a busy machine takes its own time for that. */
    private static final long SILENCE_MS = 15_000;

    private Requests() {
    }

    static void addTo(Suite suite, Stage stage) {
        suite.add("a-request-gets-its-reply", () -> replyComes(stage));
        suite.add("a-request-that-nobody-replies-to-ends", () -> silenceEnds(stage));
    }

    private static void replyComes(Stage stage) throws Exception {
        String topic = stage.topic("questions");
        DefaultMQProducer responder = stage.producer();
        DefaultMQPushConsumer consumer = stage.consumer(stage.unique("questions"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            try {
                for (Message question : messages) {
                    byte[] answer = ("answer to " + Inbox.body(question)).getBytes(StandardCharsets.UTF_8);
                    Stage.send(responder, MessageUtil.createReplyMessage(question, answer));
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            } catch (Exception error) {
                error.printStackTrace();
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
        });
        consumer.start();
        DefaultMQProducer requester = stage.producer();
        equal("answer to one", Inbox.body(requester.request(message(topic, "t", "one"), REQUEST_MS)));
        CompletableFuture<Message> answer = new CompletableFuture<>();
        requester.request(message(topic, "t", "two"), new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                // The client calls this when the request is sent, too, with the reply if it has come by then.
                if (message != null) {
                    answer.complete(message);
                }
            }

            @Override
            public void onException(Throwable error) {
                answer.completeExceptionally(error);
            }
        }, REQUEST_MS);
        equal("answer to two", Inbox.body(answer.get(REQUEST_MS, TimeUnit.MILLISECONDS)));
    }

    private static void silenceEnds(Stage stage) throws Exception {
        String topic = stage.topic("silence");
        try {
            stage.producer().request(message(topic, "t", "anybody?"), SILENCE_MS);
            holds(false, "an answer");
        } catch (RequestTimeoutException expected) {
            // As it should be.
        }
    }
}
