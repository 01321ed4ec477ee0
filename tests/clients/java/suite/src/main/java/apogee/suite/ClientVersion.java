package apogee.suite;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What the versions of the client have under different names. */
interface ClientVersion {
    void createTopic(DefaultMQAdminExt admin, String topic, int queues) throws Exception;

    void broadcast(DefaultMQPushConsumer consumer);

    /** Stacks of a consumer's threads, as the broker passes them on. */
    String stacksOf(DefaultMQAdminExt admin, String group, String clientId) throws Exception;

    /** Has a consumer consume a message; what it says came of it. */
    String consumeDirectly(DefaultMQAdminExt admin, String group, String clientId, String topic, String messageId)
        throws Exception;

    /** Checks of what only this version has. */
    void addOwn(Suite suite, Stage stage);
}
