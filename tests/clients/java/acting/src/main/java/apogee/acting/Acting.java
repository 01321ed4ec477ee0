package apogee.acting;

import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/** The loop of an actor: orders are carried out side by side, listeners are asked through events. */
public final class Acting {
    /** Carries out one order. */
    public interface Actor {
        Wire.Report perform(Wire.Order order) throws Exception;

        /** Finds the protocol's code in an error, or returns 0. */
        int codeOf(Throwable error);

        /** Stops all clients. */
        void close();
    }

    private final Gson gson = new Gson();
    private final PrintStream out;
    private final AtomicInteger events = new AtomicInteger();
    private final Map<Integer, CompletableFuture<String>> waiting = new ConcurrentHashMap<>();

    /** Takes the standard output for itself: whatever a client prints goes to the standard error. */
    public Acting() {
        out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        System.setOut(System.err);
    }

    /** Tells that the client of this name was called with the message, and waits for what to answer. */
    public String ask(String name, Wire.Message message) {
        int number = events.incrementAndGet();
        CompletableFuture<String> answer = new CompletableFuture<>();
        waiting.put(number, answer);
        Wire.Report report = new Wire.Report();
        report.event = number;
        report.name = name;
        report.message = message;
        say(report);
        return answer.join();
    }

    /** Carries out what comes in on the standard input until that ends. */
    public void serve(Actor actor) throws IOException {
        ExecutorService performers = Executors.newCachedThreadPool();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Wire.Order order = gson.fromJson(line, Wire.Order.class);
            if (order.what.equals("outcome")) {
                waiting.remove(order.event).complete(order.outcome);
            } else {
                performers.execute(() -> say(perform(actor, order)));
            }
        }
        actor.close();
        System.exit(0);
    }

    private Wire.Report perform(Actor actor, Wire.Order order) {
        Wire.Report report;
        try {
            report = actor.perform(order);
        } catch (Throwable error) {
            report = new Wire.Report();
            report.error = new Wire.Refused();
            report.error.code = actor.codeOf(error);
            report.error.text = String.valueOf(error);
        }
        report.id = order.id;
        return report;
    }

    private synchronized void say(Wire.Report report) {
        out.println(gson.toJson(report));
        out.flush();
    }
}
