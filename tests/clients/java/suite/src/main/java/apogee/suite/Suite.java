package apogee.suite;

import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * Checks that are carried out side by side, for they mostly wait. Whoever started the program reads from its standard
 * output, a line each: {@code plan NAME} of every check, then {@code passed NAME} or {@code failed NAME}, a tab and why.
 */
final class Suite {
    private static final long PATIENCE_MINUTES = 4;

    /** Something that has to hold. */
    interface Check {
        void run() throws Exception;
    }

    private final Map<String, Check> checks = new LinkedHashMap<>();
    private final PrintStream reports = System.out;

    /** Adds a check; its name is a sentence without blanks. */
    void add(String name, Check check) {
        if (checks.put(name, check) != null) {
            throw new IllegalArgumentException("two checks are called " + name);
        }
    }

    /** Carries all checks out. */
    void run() throws InterruptedException {
        // Clients and tools print what they like.
        System.setOut(System.err);
        checks.keySet().forEach(name -> reports.println("plan " + name));
        ExecutorService threads = Executors.newCachedThreadPool();
        checks.forEach((name, check) -> threads.execute(() -> report(name, check)));
        threads.shutdown();
        if (!threads.awaitTermination(PATIENCE_MINUTES, TimeUnit.MINUTES)) {
            Thread.getAllStackTraces().forEach((thread, stack) -> System.err.println(thread + " " + java.util.Arrays.toString(stack)));
        }
    }

    private void report(String name, Check check) {
        String line = "passed " + name;
        try {
            check.run();
        } catch (Throwable error) {
            StringWriter text = new StringWriter();
            error.printStackTrace(new PrintWriter(text, true));
            line = "failed " + name + "\t" + text.toString().replace("\t", "  ").replace("\r", "").replace("\n", "\t");
        }
        synchronized (reports) {
            reports.println(line);
            reports.flush();
        }
    }
}
