package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Assertions.holds;
import static apogee.suite.Stage.message;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.List;
import org.apache.commons.cli.PosixParser;
import org.apache.commons.cli.Options;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.command.SubCommandException;
import org.apache.rocketmq.tools.command.message.QueryMsgTraceByIdSubCommand;

/** Messages that are looked for, and their traces. */
final class Finding {
    private static final long HOUR_MS = 3_600_000;

    private Finding() {
    }

    static void addTo(Suite suite, Stage stage) {
        suite.add("messages-are-found-by-ids-and-keys", () -> areFound(stage));
        suite.add("traces-of-producer-and-consumer-are-found", () -> tracesAreFound(stage));
    }

    private static void areFound(Stage stage) throws Exception {
        String topic = stage.topic("found");
        String key = stage.unique("key");
        DefaultMQProducer producer = stage.producer();
        Message message = message(topic, "t", "wanted");
        message.setKeys(key + " other");
        SendResult result = Stage.send(producer, message);
        Stage.send(producer, message(topic, "t", "not wanted"));
        for (String id : List.of(result.getOffsetMsgId(), result.getMsgId())) {
            MessageExt found = producer.viewMessage(topic, id);
            equal("wanted", Inbox.body(found));
            equal(result.getMsgId(), found.getMsgId());
        }
        long now = System.currentTimeMillis();
        QueryResult byKey = producer.queryMessage(topic, key, 10, now - HOUR_MS, now + HOUR_MS);
        equal(1, byKey.getMessageList().size());
        equal("wanted", Inbox.body(byKey.getMessageList().get(0)));
        try {
            producer.queryMessage(topic, "no such key", 10, now - HOUR_MS, now + HOUR_MS);
            holds(false, "a message");
        } catch (MQClientException expected) {
            holds(expected.getErrorMessage().contains("no message"), expected.getErrorMessage());
        }
        try {
            String damaged = result.getOffsetMsgId().substring(0, 24) + "FFFFFFFF";
            holds(stage.admin.viewMessage(topic, damaged) == null, "a message");
        } catch (MQBrokerException | MQClientException expected) {
            // There is none.
        }
    }

    private static void tracesAreFound(Stage stage) throws Exception {
        String topic = stage.topic("traced");
        DefaultMQProducer producer = stage.start(new DefaultMQProducer(stage.unique("traced"), null, true, null));
        DefaultMQPushConsumer consumer = stage.prepare(
            new DefaultMQPushConsumer(stage.unique("traced"), null, new AllocateMessageQueueAveragely(), true, null));
        consumer.subscribe(topic, "*");
        Inbox inbox = stage.listen(consumer);
        SendResult result = Stage.send(producer, message(topic, "t", "followed"));
        inbox.await(1);
        String group = consumer.getConsumerGroup();
        long deadline = System.nanoTime() + 60_000_000_000L;
        String found = "";
        // Traces are sent every few seconds.
        while (!(found.contains("Pub") && found.contains(producer.getProducerGroup()) && found.contains(group))) {
            holds(System.nanoTime() < deadline, found);
            Thread.sleep(500);
            found = queryMsgTraceById(result.getMsgId());
        }
        holds(found.contains("success"), found);
    }

    /** What the tool's command of that name prints; it takes the nameserver from a system property. */
    @SuppressWarnings("deprecation") // The only parser that the tools of both versions bring.
    private static String queryMsgTraceById(String id) throws Exception {
        QueryMsgTraceByIdSubCommand command = new QueryMsgTraceByIdSubCommand();
        Options options = command.buildCommandlineOptions(new Options());
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream before = System.out;
        System.setOut(new PrintStream(printed, true));
        try {
            command.execute(new PosixParser().parse(options, new String[] {"-i", id}), options, null);
        } catch (SubCommandException none) {
            return none.toString();
        } finally {
            System.setOut(before);
        }
        return printed.toString();
    }
}
