package apogee.suite;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import org.apache.rocketmq.common.message.Message;

/** Messages that came, in their order. */
final class Inbox {
    /** Consumers look for new topics every 20 to 30 s, and a 4.9 client rests for 10 s when it is sent elsewhere. */
    static final long PATIENCE_MS = 90_000;

    private final List<Message> messages = new ArrayList<>();

    synchronized void add(Message message) {
        messages.add(message);
        notifyAll();
    }

    /** Waits for that many messages. */
    List<Message> await(int count) throws InterruptedException {
        return await(all -> all.size() >= count, count + " messages");
    }

    /** Waits until what came is enough. */
    synchronized List<Message> await(Predicate<List<Message>> isEnough, String what) throws InterruptedException {
        long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
        while (!isEnough.test(messages)) {
            long leftMs = (deadline - System.nanoTime()) / 1_000_000;
            if (leftMs <= 0) {
                throw new AssertionError("waited for " + what + ", and these came: " + bodies(messages));
            }
            wait(leftMs);
        }
        return new ArrayList<>(messages);
    }

    /** Waits until each of these bodies has come. */
    List<Message> awaitBodies(String... bodies) throws InterruptedException {
        return await(all -> bodies(all).containsAll(List.of(bodies)), String.join(", ", bodies));
    }

    synchronized List<String> bodies() {
        return bodies(messages);
    }

    synchronized void clear() {
        messages.clear();
    }

    static List<String> bodies(List<Message> messages) {
        List<String> bodies = new ArrayList<>();
        messages.forEach(message -> bodies.add(body(message)));
        return bodies;
    }

    static String body(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }
}
