package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Assertions.holds;
import static apogee.suite.Stage.message;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Lite pull consumers. */
final class Pulling {
    private static final long PATIENCE_NANOS = 90_000_000_000L;
    /** Far more than a pull of messages that are there takes. */
    private static final long SEEK_NANOS = 10_000_000_000L;

    private Pulling() {
    }

    static void addTo(Suite suite, Stage stage) {
        suite.add("lite-pull-subscribes-and-goes-on-where-it-was", () -> goesOn(stage));
        suite.add("lite-pull-seeks-in-queues-of-its-choice", () -> seeks(stage));
    }

    private static void goesOn(Stage stage) throws Exception {
        String topic = stage.topic("pull");
        String group = stage.unique("pull");
        DefaultMQProducer producer = stage.producer();
        for (int number = 0; number < 6; number++) {
            Stage.send(producer, message(topic, "t", "early " + number));
        }
        DefaultLitePullConsumer first = stage.puller(group);
        first.setAutoCommit(false);
        first.subscribe(topic, "*");
        first.start();
        equal(6L, poll(first, 6).stream().distinct().count());
        first.commitSync();
        first.shutdown();
        Stage.send(producer, message(topic, "t", "late"));
        DefaultLitePullConsumer second = stage.puller(group);
        second.subscribe(topic, "*");
        second.start();
        equal(List.of("late"), poll(second, 1));
        second.shutdown();
    }

    private static void seeks(Stage stage) throws Exception {
        String topic = stage.topic("seek");
        DefaultMQProducer producer = stage.producer();
        MessageQueue queue = null;
        for (int number = 0; number < 5; number++) {
            // All into one queue.
            SendResult result = Stage.stored(producer.send(message(topic, "t", "message " + number), (queues, sent, key) -> queues.get(0), null));
            queue = result.getMessageQueue();
        }
        DefaultLitePullConsumer consumer = stage.puller(stage.unique("seek"));
        consumer.start();
        Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
        equal(4, queues.size());
        holds(queues.contains(queue), queues);
        consumer.assign(List.of(queue));
        List<String> all = List.of("message 0", "message 1", "message 2", "message 3", "message 4");
        // Until then a pull from the beginning is under way, whose messages a seek does not keep away.
        equal(all, poll(consumer, 5));
        MessageQueue one = queue;
        equal(List.of("message 3", "message 4"), pollAfter(() -> consumer.seek(one, 3), consumer, 2));
        equal(all, pollAfter(() -> consumer.seekToBegin(one), consumer, 5));
        equal(5L, consumer.offsetForTimestamp(queue, System.currentTimeMillis() + 60_000));
        equal(0L, consumer.offsetForTimestamp(queue, 0L));
        consumer.shutdown();
    }

    private interface Seek {
        void run() throws Exception;
    }

    /**
     * Seeks and polls, and seeks again when nothing comes: the client gives the place to the pull that it cancels when
     * that one is just about to begin, and the next goes on where the last one was.
     */
    private static List<String> pollAfter(Seek seek, DefaultLitePullConsumer consumer, int count) throws Exception {
        long deadline = System.nanoTime() + PATIENCE_NANOS;
        List<String> bodies = List.of();
        while (bodies.size() < count) {
            holds(System.nanoTime() < deadline, bodies);
            seek.run();
            bodies = pollUntil(System.nanoTime() + SEEK_NANOS, consumer, count);
        }
        return bodies;
    }

    private static List<String> poll(DefaultLitePullConsumer consumer, int count) {
        List<String> bodies = pollUntil(System.nanoTime() + PATIENCE_NANOS, consumer, count);
        holds(bodies.size() >= count, bodies);
        return bodies;
    }

    private static List<String> pollUntil(long deadline, DefaultLitePullConsumer consumer, int count) {
        List<String> bodies = new ArrayList<>();
        while (bodies.size() < count && System.nanoTime() < deadline) {
            for (MessageExt message : consumer.poll(1_000)) {
                bodies.add(Inbox.body(message));
            }
        }
        return bodies;
    }
}
