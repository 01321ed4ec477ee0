package apogee.suite;

import static apogee.suite.Assertions.equal;
import static apogee.suite.Stage.message;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Transactions: decided at once, or when the broker asks. */
final class Transactions {
    private Transactions() {
    }

    static void addTo(Suite suite, Stage stage) {
        suite.add("transactions-are-decided-at-once-or-when-asked", () -> areDecided(stage));
    }

    private static void areDecided(Stage stage) throws Exception {
        String topic = stage.topic("decided");
        CountDownLatch asked = new CountDownLatch(2);
        TransactionMQProducer producer = new TransactionMQProducer(stage.unique("deciders"));
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object decision) {
                return (LocalTransactionState) decision;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                asked.countDown();
                return Inbox.body(message).equals("committed when asked")
                    ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        stage.start(producer);
        Inbox inbox = stage.listen(topic, stage.unique("decided"), "*");
        producer.sendMessageInTransaction(message(topic, "t", "rolled back"), LocalTransactionState.ROLLBACK_MESSAGE);
        producer.sendMessageInTransaction(message(topic, "t", "committed"), LocalTransactionState.COMMIT_MESSAGE);
        producer.sendMessageInTransaction(message(topic, "t", "rolled back when asked"), LocalTransactionState.UNKNOW);
        producer.sendMessageInTransaction(message(topic, "t", "committed when asked"), LocalTransactionState.UNKNOW);
        inbox.awaitBodies("committed", "committed when asked");
        equal(true, asked.await(60, TimeUnit.SECONDS));
        List<String> bodies = Stage.sorted(new ArrayList<>(inbox.bodies()));
        equal(List.of("committed", "committed when asked"), bodies);
    }
}
