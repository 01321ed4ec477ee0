package clients

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"apogee.test/clients/go/cluster"
	"apogee.test/clients/go/collector"
	"apogee.test/clients/go/remoting"
)

const (
	// soon is long enough for anything that waits for no timer, on a machine that is busy.
	soon = 20 * time.Second

	pollInterval = 20 * time.Millisecond

	// queueCount is the number of queues of a topic created by its first message, and of newTopic.
	queueCount = 4

	templateTopic = "TBW102"
)

var (
	namesGiven atomic.Int64
	// runStarted keeps names of different runs against one running cluster apart.
	runStarted = strconv.FormatInt(time.Now().UnixMilli(), 36)
)

// unique makes a name for a topic, a group or a client that nobody else uses.
func unique(label string) string {
	return fmt.Sprintf("go-%s-%s-%d", label, runStarted, namesGiven.Add(1))
}

// newTopic creates a topic with four queues, so that consumers can start before the first message.
func newTopic(t *testing.T, on *cluster.Cluster, label string) string {
	t.Helper()
	topic := unique(label)
	broker, err := remoting.Master(on.Nameserver, templateTopic)
	if err != nil {
		t.Fatal(err)
	}
	err = newAdmin(t, on).CreateTopic(context.Background(),
		admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker),
		admin.WithReadQueueNums(queueCount), admin.WithWriteQueueNums(queueCount))
	if err != nil {
		t.Fatal(err)
	}
	awaitRoute(t, on, topic, soon)
	return topic
}

func newAdmin(t *testing.T, on *cluster.Cluster) admin.Admin {
	t.Helper()
	tool, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{on.Nameserver})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tool.Close() })
	return tool
}

// awaitRoute waits until consumers of the topic can start.
func awaitRoute(t *testing.T, on *cluster.Cluster, topic string, within time.Duration) {
	t.Helper()
	eventually(t, within, "a route for "+topic, func() bool {
		_, err := remoting.Master(on.Nameserver, topic)
		return err == nil
	})
}

// eventually asks again and again until the condition holds, for what no event tells of.
func eventually(t *testing.T, within time.Duration, expected string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !condition(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("%v passed without %s", within, expected)
		}
	}
}

// newProducer starts a producer with an instance name of its own: clients of one process that share
// a name share a client id too, and one connection.
func newProducer(t *testing.T, on *cluster.Cluster, options ...producer.Option) rocketmq.Producer {
	t.Helper()
	started, err := rocketmq.NewProducer(producerOptions(on, options)...)
	if err == nil {
		err = started.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Shutdown() })
	return started
}

func newTransactionProducer(t *testing.T, on *cluster.Cluster, listener primitive.TransactionListener, options ...producer.Option) rocketmq.TransactionProducer {
	t.Helper()
	started, err := rocketmq.NewTransactionProducer(listener, producerOptions(on, options)...)
	if err == nil {
		err = started.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Shutdown() })
	return started
}

func producerOptions(on *cluster.Cluster, more []producer.Option) []producer.Option {
	name := unique("producer")
	return append([]producer.Option{
		producer.WithNameServer([]string{on.Nameserver}),
		producer.WithInstanceName(name),
		producer.WithGroupName(name),
	}, more...)
}

// newConsumer makes a push consumer that has not subscribed to anything yet.
func newConsumer(t *testing.T, on *cluster.Cluster, group string, options ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	made, err := rocketmq.NewPushConsumer(consumerOptions(on, group, options)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Shutdown() })
	return made
}

// startConsumer starts a push consumer of the whole topic, from its first message unless the group
// has got further already.
func startConsumer(t *testing.T, on *cluster.Cluster, group, topic string, handler collector.Handler, options ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	started := newConsumer(t, on, group, options...)
	err := started.Subscribe(topic, consumer.MessageSelector{}, handler)
	if err == nil {
		err = started.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return started
}

func consumerOptions(on *cluster.Cluster, group string, more []consumer.Option) []consumer.Option {
	return append([]consumer.Option{
		consumer.WithNameServer([]string{on.Nameserver}),
		consumer.WithInstance(unique("consumer")),
		consumer.WithGroupName(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, more...)
}

// send sends one message and insists that it was stored.
func send(t *testing.T, with rocketmq.Producer, message *primitive.Message) *primitive.SendResult {
	t.Helper()
	result, err := with.SendSync(context.Background(), message)
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != primitive.SendOK {
		t.Fatalf("the broker did not store the message: %s", result)
	}
	return result
}

// sendTexts sends a numbered message per count and returns what it sent.
func sendTexts(t *testing.T, with rocketmq.Producer, topic, prefix string, count int) []string {
	t.Helper()
	texts := make([]string, count)
	for number := range texts {
		texts[number] = fmt.Sprintf("%s %d", prefix, number)
		send(t, with, primitive.NewMessage(topic, []byte(texts[number])))
	}
	return texts
}

// sendToEachQueue sends one message to every queue of the topic and returns their texts.
func sendToEachQueue(t *testing.T, on *cluster.Cluster, topic, prefix string) []string {
	t.Helper()
	queues, err := newAdmin(t, on).FetchPublishMessageQueues(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	direct := newProducer(t, on, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	texts := make([]string, len(queues))
	for index, queue := range queues {
		texts[index] = fmt.Sprintf("%s %d", prefix, queue.QueueId)
		message := primitive.NewMessage(topic, []byte(texts[index]))
		message.Queue = queue
		send(t, direct, message)
	}
	return texts
}
