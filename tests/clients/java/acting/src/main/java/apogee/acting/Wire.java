package apogee.acting;

import java.util.List;
import java.util.Map;

/** What actors and scenarios say to each other; the names are those of the JSON. */
public final class Wire {
    private Wire() {
    }

    /** One line from the scenarios. */
    public static final class Order {
        public int id;
        // Called `do` in JSON, which Java has no name for.
        @com.google.gson.annotations.SerializedName("do")
        public String what;
        public String name;
        public String group;
        public List<String> topics = List.of();
        public List<Subscription> subscriptions = List.of();
        public boolean checks;
        public boolean ordered;
        public long await_ms;
        public Message message;
        public String transaction;
        public String outcome;
        public String topic;
        public String handle;
        public int max;
        public long invisible_ms;
        public String receipt;
        public int event;
    }

    /** A topic with a filter. */
    public static final class Subscription {
        public String topic;
        public boolean sql;
        public String expression;
    }

    /** One line to the scenarios. */
    public static final class Report {
        public Integer id;
        public Refused error;
        public Sent sent;
        public List<Message> messages;
        public Integer event;
        public String name;
        public Message message;

        /** The report of a message that is stored. */
        public static Report sent(String id, String recallHandle) {
            Report report = new Report();
            report.sent = new Sent();
            report.sent.id = id;
            report.sent.recall_handle = recallHandle;
            return report;
        }
    }

    /** An error of the client. */
    public static final class Refused {
        public int code;
        public String text;
    }

    /** Tells of a stored message. */
    public static final class Sent {
        public String id;
        public String recall_handle;
    }

    /** What is sent and received. The body is Base64. */
    public static final class Message {
        public String topic;
        public String body;
        public String tag;
        public List<String> keys = List.of();
        public Map<String, String> properties = Map.of();
        public String group;
        public long deliver_at_ms;
        public int delay_level;
        public String id;
        public int attempt;
        public long born_ms;
        public long at_ms;
        public String receipt;
    }
}
