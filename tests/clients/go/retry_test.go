package clients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/collector"
)

const (
	// The route of a new group's retry topic is asked for every 30 s, its queue taken at the
	// rebalance after that, at most 20 s later.
	firstRetry = 60 * time.Second

	retriesMax = 2
)

func TestAMessageRefusedTooOftenEndsInTheDeadLetterTopic(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, shared, "retry"), unique("group")
	received := collector.New()
	startConsumer(t, shared, group, topic, acceptAtThirdSight(received), consumer.WithMaxReconsumeTimes(retriesMax))

	sender := newProducer(t, shared)
	results := map[string]*primitive.SendResult{}
	for _, text := range []string{"accepted at third sight", "never accepted"} {
		message := primitive.NewMessage(topic, []byte(text)).WithTag("retried").WithKeys([]string{"key"})
		results[text] = send(t, sender, message)
	}

	deliveries := received.Await(t, firstRetry, "both messages three times", func(deliveries []collector.Delivery) bool {
		counts := collector.CountTexts(deliveries)
		return counts["accepted at third sight"] == 1+retriesMax && counts["never accepted"] == 1+retriesMax
	})
	times := map[string]int32{}
	for _, delivery := range deliveries {
		text := delivery.Text()
		if delivery.ReconsumeTimes != times[text] {
			t.Errorf("%q came with reconsume times %d, want %d", text, delivery.ReconsumeTimes, times[text])
		}
		times[text]++
		checkRetried(t, delivery, topic, results[text])
	}

	checkDeadLetter(t, group, topic, results["never accepted"])
	if count := len(received.Deliveries()); count != 2*(1+retriesMax) {
		t.Errorf("the group received %d messages in all, want %d", count, 2*(1+retriesMax))
	}
}

// acceptAtThirdSight refuses every message until its second retry, and some even then. Refused
// messages are to come back after one second, the shortest delay there is.
func acceptAtThirdSight(received *collector.Collector) collector.Handler {
	return func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		received.Add("only", messages...)
		message := messages[0]
		if message.ReconsumeTimes == retriesMax && string(message.Body) != "never accepted" {
			return consumer.ConsumeSuccess, nil
		}
		settings, known := primitive.GetConcurrentlyCtx(ctx)
		if !known {
			return consumer.ConsumeRetryLater, fmt.Errorf("the client gave no context for concurrent consumption")
		}
		settings.DelayLevelWhenNextConsume = 1
		return consumer.ConsumeRetryLater, nil
	}
}

func checkRetried(t *testing.T, delivery collector.Delivery, topic string, sent *primitive.SendResult) {
	t.Helper()
	if delivery.Topic != topic {
		t.Errorf("%q came back with topic %s, want %s", delivery.Text(), delivery.Topic, topic)
	}
	if delivery.MsgId != sent.MsgID {
		t.Errorf("%q came back with id %s, want %s", delivery.Text(), delivery.MsgId, sent.MsgID)
	}
	if delivery.GetTags() != "retried" || delivery.GetKeys() != "key" {
		t.Errorf("%q came back with tag %q and keys %q", delivery.Text(), delivery.GetTags(), delivery.GetKeys())
	}
}

func checkDeadLetter(t *testing.T, group, topic string, sent *primitive.SendResult) {
	t.Helper()
	deadLetters := "%DLQ%" + group
	awaitRoute(t, shared, deadLetters, soon)
	dead := collector.New()
	startConsumer(t, shared, unique("dead-letters"), deadLetters, dead.Accept("dead letters"))
	delivery := dead.Find(t, soon, "never accepted")
	if delivery.MsgId != sent.MsgID {
		t.Errorf("the dead letter has id %s, want %s", delivery.MsgId, sent.MsgID)
	}
	if origin := delivery.GetProperty(primitive.PropertyRetryTopic); origin != topic {
		t.Errorf("the dead letter came from topic %q, want %s", origin, topic)
	}
	if origin := delivery.GetProperty(primitive.PropertyOriginMessageId); origin != sent.OffsetMsgID {
		t.Errorf("the dead letter had offset message id %q, want %s", origin, sent.OffsetMsgID)
	}
	for _, other := range dead.Deliveries() {
		if other.Text() != "never accepted" {
			t.Errorf("%q is a dead letter too", other.Text())
		}
	}
}
