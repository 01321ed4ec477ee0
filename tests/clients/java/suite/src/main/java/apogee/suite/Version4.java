package apogee.suite;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The client 4.9. */
public final class Version4 implements ClientVersion {
    public static void main(String[] arguments) throws Exception {
        Checks.run(new Version4(), arguments);
    }

    @Override
    public void createTopic(DefaultMQAdminExt admin, String topic, int queues) throws Exception {
        admin.createTopic("TBW102", topic, queues);
    }

    @Override
    public void broadcast(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    @Override
    public String stacksOf(DefaultMQAdminExt admin, String group, String clientId) throws Exception {
        return admin.getConsumerRunningInfo(group, clientId, true).getJstack();
    }

    @Override
    public String consumeDirectly(DefaultMQAdminExt admin, String group, String clientId, String topic, String messageId)
        throws Exception {
        return admin.consumeMessageDirectly(group, clientId, topic, messageId).getConsumeResult().name();
    }

    @Override
    public void addOwn(Suite suite, Stage stage) {
        // It has nothing that a client 5 lacks.
    }
}
