package clients

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/collector"
)

// The Go consumer asks for the route once, in Start, and gives up for good when there is none.
func TestAConsumerStartsOnlyOnceItsTopicExists(t *testing.T) {
	topic, group := unique("late-topic"), unique("group")
	received := collector.New()
	early := newConsumer(t, shared, group)
	if err := early.Subscribe(topic, consumer.MessageSelector{}, received.Accept("early")); err != nil {
		t.Fatal(err)
	}
	if err := early.Start(); err == nil || !strings.Contains(err.Error(), "route info not found") {
		t.Fatalf("the consumer of a topic that does not exist started with %v", err)
	}

	texts := sendTexts(t, newProducer(t, shared), topic, "late", 3*queueCount)
	awaitRoute(t, shared, topic, soon)
	startConsumer(t, shared, group, topic, received.Accept("second try"))
	for _, delivery := range received.AwaitTexts(t, soon, texts...) {
		if delivery.Consumer != "second try" {
			t.Errorf("the consumer that failed to start received %q", delivery.Text())
		}
	}
}

func TestAWaitingConsumerIsServedAtOnce(t *testing.T) {
	topic := newTopic(t, shared, "at-once")
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))
	received.AwaitTexts(t, soon, sendToEachQueue(t, shared, topic, "first")...)

	// Every queue now has a pull waiting at the broker, for 20 s if nothing wakes it.
	sender := newProducer(t, shared)
	for number := range 2 * queueCount {
		text := fmt.Sprintf("woken %d", number)
		sent := time.Now()
		send(t, sender, primitive.NewMessage(topic, []byte(text)))
		if taken := received.Find(t, soon, text).At.Sub(sent); time.Second < taken {
			t.Errorf("%s took %v from send to receive", text, taken)
		}
	}
}

func TestTenThousandMessagesArriveOnceEach(t *testing.T) {
	const senders, each = 8, 1250
	topic := newTopic(t, shared, "ten-thousand")
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))

	producer := newProducer(t, shared)
	var running sync.WaitGroup
	for sender := range senders {
		running.Go(func() {
			for number := range each {
				message := primitive.NewMessage(topic, fmt.Appendf(nil, "%d/%d", sender, number))
				result, err := producer.SendSync(context.Background(), message)
				if err != nil || result.Status != primitive.SendOK {
					t.Errorf("sender %d, message %d: %v, %v", sender, number, result, err)
					return
				}
			}
		})
	}
	running.Wait()
	received.Await(t, 60*time.Second, "ten thousand messages", func(deliveries []collector.Delivery) bool {
		return senders*each <= len(deliveries)
	})

	// What was delivered twice would have come before these, on its queue.
	marks := sendToEachQueue(t, shared, topic, "mark")
	counts := collector.CountTexts(received.AwaitTexts(t, soon, marks...))
	for sender := range senders {
		for number := range each {
			if text := fmt.Sprintf("%d/%d", sender, number); counts[text] != 1 {
				t.Errorf("message %s was received %d times", text, counts[text])
			}
		}
	}
}

func TestHandlersGetBatchesWhenAskedFor(t *testing.T) {
	const batchSize = 16
	topic := newTopic(t, shared, "handler-batch")
	texts := sendTexts(t, newProducer(t, shared), topic, "message", 8*batchSize)

	received := collector.New()
	var mutex sync.Mutex
	largest := 0
	startConsumer(t, shared, unique("group"), topic,
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			mutex.Lock()
			largest = max(largest, len(messages))
			mutex.Unlock()
			received.Add("only", messages...)
			return consumer.ConsumeSuccess, nil
		}, consumer.WithConsumeMessageBatchMaxSize(batchSize))
	received.AwaitTexts(t, soon, texts...)
	mutex.Lock()
	defer mutex.Unlock()
	if largest != batchSize {
		t.Errorf("the largest batch had %d messages, want %d", largest, batchSize)
	}
}
