package apogee.mqadmin;

import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs commands of the official admin tool, all in this process, beside clients for them to look at: {@code NAMESERVER}.
 *
 * <p>Reads one JSON list of arguments a line and answers with one line of what the command printed. The first line tells
 * which message was sent first.
 */
public final class Main {
    private static final Gson GSON = new Gson();

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        PrintStream reports = System.out;
        LiveClients clients = LiveClients.start(arguments[0]);
        report(reports, clients.firstSent());
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            report(reports, run(GSON.fromJson(order, String[].class)));
        }
        clients.stop();
        // The tool leaves threads behind that would keep the process.
        System.exit(0);
    }

    private static Map<String, String> run(String[] command) throws ReflectiveOperationException {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        ByteArrayOutputStream complained = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(complained, true, StandardCharsets.UTF_8));
        try {
            // Commands keep what they used the last time, and would find it shut down.
            Commands.forget();
            MQAdminStartup.main0(command, null);
        } finally {
            System.out.flush();
            System.err.flush();
            System.setOut(out);
            System.setErr(err);
        }
        Map<String, String> outcome = new LinkedHashMap<>();
        outcome.put("out", printed.toString(StandardCharsets.UTF_8));
        outcome.put("err", complained.toString(StandardCharsets.UTF_8));
        return outcome;
    }

    private static void report(PrintStream reports, Map<String, String> report) {
        reports.println(GSON.toJson(report));
        reports.flush();
    }
}
