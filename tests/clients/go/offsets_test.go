package clients

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/cluster"
	"apogee.test/clients/go/collector"
	"apogee.test/clients/go/remoting"
)

// regularCommit is when a consumer that runs on has certainly sent its offsets: for the first time
// after 10 s, then every 5 s.
const regularCommit = 20 * time.Second

func TestAGroupContinuesWhereItWasShutDown(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, shared, "offsets"), unique("group")
	sender := newProducer(t, shared)
	received := collector.New()

	first := startConsumer(t, shared, group, topic, received.Accept("first"))
	received.AwaitTexts(t, soon, sendTexts(t, sender, topic, "for the first", 10*queueCount)...)
	awaitCommitted(t, shared, group, topic, received, regularCommit)
	stop(t, first)

	second := startConsumer(t, shared, group, topic, acceptSlowly(received, "second"))
	received.AwaitTexts(t, soon, sendTexts(t, sender, topic, "for the second", 2*queueCount)...)
	// The offsets of these messages are still in the client when it is shut down.
	eventually(t, soon, "all messages being answered for", func() bool {
		return second.GetOffsetDiffMap()[topic] == 0
	})
	stop(t, second)
	awaitCommitted(t, shared, group, topic, received, soon)

	// One handler at a time, so that a repeated message could not be overtaken by the marks.
	startConsumer(t, shared, group, topic, received.Accept("third"), consumer.WithConsumeGoroutineNums(1))
	received.AwaitTexts(t, soon, sendToEachQueue(t, shared, topic, "for the third")...)
	for text, count := range collector.CountTexts(received.Deliveries()) {
		if count != 1 {
			t.Errorf("%q was received %d times", text, count)
		}
	}
}

// acceptSlowly answers for a message only when the pull that follows its delivery has long arrived.
// That pull carries the offset before this message, and the client does not keep it from overtaking
// the last commit of a consumer that is shut down within the same few microseconds.
func acceptSlowly(received *collector.Collector, consumerName string) collector.Handler {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		received.Add(consumerName, messages...)
		time.Sleep(500 * time.Millisecond)
		return consumer.ConsumeSuccess, nil
	}
}

func stop(t *testing.T, running rocketmq.PushConsumer) {
	t.Helper()
	if err := running.Shutdown(); err != nil {
		t.Fatal(err)
	}
}

// awaitCommitted waits until the broker knows that the group is done with all that was received.
func awaitCommitted(t *testing.T, on *cluster.Cluster, group, topic string, received *collector.Collector, within time.Duration) {
	t.Helper()
	ends := map[int]int64{}
	for _, delivery := range received.Deliveries() {
		queue := delivery.Queue.QueueId
		ends[queue] = max(ends[queue], delivery.QueueOffset+1)
	}
	broker, err := remoting.Master(on.Nameserver, topic)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, within, "the offsets being committed", func() bool {
		for queue, end := range ends {
			if committed(t, broker, group, topic, queue) != end {
				return false
			}
		}
		return true
	})
}

// committed returns the offset the broker has for the group, or -1.
func committed(t *testing.T, broker, group, topic string, queue int) int64 {
	t.Helper()
	reply, err := remoting.Call(broker, remoting.QueryConsumerOffset, map[string]string{
		"consumerGroup": group, "topic": topic, "queueId": strconv.Itoa(queue), "setZeroIfNotFound": "false",
	})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Code == remoting.QueryNotFound {
		return -1
	}
	offset, err := strconv.ParseInt(reply.Fields["offset"], 10, 64)
	if reply.Code != remoting.Success || err != nil {
		t.Fatalf("the committed offset was answered with code %d, %s, fields %v", reply.Code, reply.Remark, reply.Fields)
	}
	return offset
}
