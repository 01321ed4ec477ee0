package clients

import (
	"context"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/collector"
)

func newPullConsumer(t *testing.T, topic string) rocketmq.PullConsumer {
	t.Helper()
	started, err := rocketmq.NewPullConsumer(consumerOptions(shared, unique("group"), nil)...)
	if err == nil {
		err = started.Subscribe(topic, consumer.MessageSelector{})
	}
	if err == nil {
		err = started.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Shutdown() })
	return started
}

// The loop behind Poll asks the broker for at most 0 messages and still expects some.
func TestAPollingConsumerGetsEveryMessage(t *testing.T) {
	topic := newTopic(t, shared, "poll")
	texts := sendTexts(t, newProducer(t, shared), topic, "polled", 10*queueCount)
	polling := newPullConsumer(t, topic)
	received := collector.New()
	eventually(t, soon, "all messages being polled", func() bool {
		request, err := polling.Poll(context.Background(), time.Second)
		if err != nil && !consumer.IsNoNewMsgError(err) {
			t.Fatal(err)
		}
		if err == nil {
			received.Add("polling", request.GetMsgList()...)
			polling.ACK(context.Background(), request, consumer.ConsumeSuccess)
		}
		return len(texts) <= len(received.Deliveries())
	})
	for text, count := range collector.CountTexts(received.AwaitTexts(t, 0, texts...)) {
		if count != 1 {
			t.Errorf("%q was polled %d times", text, count)
		}
	}
}

func TestAPullFromAnOffsetStartsThere(t *testing.T) {
	topic := newTopic(t, shared, "pull-from")
	sender := newProducer(t, shared)
	var last *primitive.SendResult
	for range 10 * queueCount {
		last = send(t, sender, primitive.NewMessage(topic, []byte("pulled")))
	}
	const behind = 5
	from := last.QueueOffset - behind
	pulled, err := newPullConsumer(t, topic).PullFrom(context.Background(), last.MessageQueue, from, 32)
	if err != nil {
		t.Fatal(err)
	}
	if pulled.Status != primitive.PullFound || pulled.NextBeginOffset != last.QueueOffset+1 {
		t.Errorf("status %d, next offset %d", pulled.Status, pulled.NextBeginOffset)
	}
	if pulled.MinOffset != 0 || pulled.MaxOffset != last.QueueOffset+1 {
		t.Errorf("the queue reaches from %d to %d", pulled.MinOffset, pulled.MaxOffset)
	}
	messages := pulled.GetMessageExts()
	if len(messages) != behind+1 {
		t.Fatalf("%d messages were pulled from offset %d", len(messages), from)
	}
	for index, message := range messages {
		if message.QueueOffset != from+int64(index) {
			t.Errorf("message %d has offset %d", index, message.QueueOffset)
		}
	}
}
