package clients

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/collector"
)

// lateMax is how much later than promised a delayed message may be in its consumer's hands.
const lateMax = time.Second

var delays = map[int]time.Duration{1: time.Second, 2: 5 * time.Second, 3: 10 * time.Second, 4: 30 * time.Second}

func TestDelayedMessagesAreNeverEarlyAndAtMostASecondLate(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, shared, "delay")
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))
	received.AwaitTexts(t, soon, sendToEachQueue(t, shared, topic, "ready")...)

	sender := newProducer(t, shared)
	results := map[int]*primitive.SendResult{}
	for level := range delays {
		message := primitive.NewMessage(topic, fmt.Appendf(nil, "level %d", level)).WithDelayTimeLevel(level)
		results[level] = send(t, sender, message)
	}
	for level, delay := range delays {
		delivery := received.Find(t, delay+soon, fmt.Sprintf("level %d", level))
		taken := delivery.At.Sub(time.UnixMilli(delivery.BornTimestamp))
		if taken < delay || delay+lateMax < taken {
			t.Errorf("level %d took %v, want %v to %v", level, taken, delay, delay+lateMax)
		}
		if delivery.Topic != topic || delivery.MsgId != results[level].MsgID {
			t.Errorf("level %d came as message %s of %s, sent was %s", level, delivery.MsgId, delivery.Topic, results[level])
		}
		t.Logf("level %d: %v late", level, taken-delay)
	}
	for text, count := range collector.CountTexts(received.Deliveries()) {
		if count != 1 {
			t.Errorf("%q was received %d times", text, count)
		}
	}
}

func TestDelayedMessagesOfOneLevelKeepTheirOrder(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, shared, "delay-order")
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))

	const count = 20 * queueCount
	sender := newProducer(t, shared)
	texts := make([]string, count)
	for number := range texts {
		texts[number] = fmt.Sprintf("delayed %d", number)
		send(t, sender, primitive.NewMessage(topic, []byte(texts[number])).WithDelayTimeLevel(1))
	}
	offsets := map[string]int64{}
	for _, delivery := range received.AwaitTexts(t, soon, texts...) {
		offsets[delivery.Text()] = delivery.QueueOffset
	}
	// Queues are used in turn, so every fourth message is in the same one.
	for number := queueCount; number < count; number++ {
		if before, after := offsets[texts[number-queueCount]], offsets[texts[number]]; after <= before {
			t.Errorf("%q got offset %d, behind it %q got %d", texts[number-queueCount], before, texts[number], after)
		}
	}
}
