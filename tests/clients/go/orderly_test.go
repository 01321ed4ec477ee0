package clients

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"apogee.test/clients/go/collector"
)

const (
	orderlyKeys = 16

	// The Go consumer drops a queue without unlocking it. The next owner gets it when the lock has run
	// out at the broker (60 s) and its own next rebalance comes (20 s).
	lockHandover = 110 * time.Second
)

// In order means: look at each queue and keep only the first delivery of each message, whichever
// consumer got it. These have increasing queue offsets and, per sharding key, increasing numbers.
// Repetitions are allowed, since a consumer that loses a queue may not have committed its last message.
func TestOrderPerQueueHoldsWhileConsumersJoinAndLeave(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, shared, "orderly"), unique("group")
	stream := startStream(t, topic)
	received := collector.New()
	orderly := consumer.WithConsumerOrder(true)

	first := startConsumer(t, shared, group, topic, received.Accept("first"), orderly)
	received.Await(t, soon, "messages of all queues by the first consumer", func(deliveries []collector.Delivery) bool {
		return len(queuesOf(deliveries, "first")) == queueCount
	})
	startConsumer(t, shared, group, topic, received.Accept("second"), orderly)
	received.Await(t, lockHandover, "half of the queues at the second consumer", func(deliveries []collector.Delivery) bool {
		return len(queuesOf(deliveries, "second")) == queueCount/2
	})
	if err := first.Shutdown(); err != nil {
		t.Fatal(err)
	}
	received.Await(t, lockHandover, "all queues at the second consumer", func(deliveries []collector.Delivery) bool {
		return len(queuesOf(deliveries, "second")) == queueCount
	})
	deliveries := received.AwaitTexts(t, soon, stream.stop()...)
	checkOrder(t, deliveries)
}

func queuesOf(deliveries []collector.Delivery, consumerName string) map[int]bool {
	queues := map[int]bool{}
	for _, delivery := range deliveries {
		if delivery.Consumer == consumerName {
			queues[delivery.Queue.QueueId] = true
		}
	}
	return queues
}

func checkOrder(t *testing.T, deliveries []collector.Delivery) {
	t.Helper()
	known := map[string]bool{}
	lastOffset, lastNumber := map[int]int64{}, map[string]int{}
	repeated := 0
	for _, delivery := range deliveries {
		if known[delivery.MsgId] {
			repeated++
			continue
		}
		known[delivery.MsgId] = true
		queue, key := delivery.Queue.QueueId, delivery.GetShardingKey()
		number, err := strconv.Atoi(delivery.GetProperty("number"))
		if err != nil {
			t.Fatal(err)
		}
		if last, seen := lastOffset[queue]; seen && delivery.QueueOffset <= last {
			t.Errorf("queue %d: offset %d was first delivered after %d", queue, delivery.QueueOffset, last)
		}
		if last, seen := lastNumber[key]; seen && number <= last {
			t.Errorf("key %s: number %d was first delivered after %d", key, number, last)
		}
		lastOffset[queue], lastNumber[key] = delivery.QueueOffset, number
	}
	t.Logf("%d messages in order, %d repetitions", len(known), repeated)
}

// stream sends numbered messages of a few sharding keys, one every few milliseconds, until stopped.
type stream struct {
	stopping chan struct{}
	running  sync.WaitGroup
	once     sync.Once
	texts    []string
}

func startStream(t *testing.T, topic string) *stream {
	t.Helper()
	sender := newProducer(t, shared, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	started := &stream{stopping: make(chan struct{})}
	started.running.Go(func() { started.send(t, sender, topic) })
	t.Cleanup(func() { started.stop() })
	return started
}

func (s *stream) send(t *testing.T, sender rocketmq.Producer, topic string) {
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for number := 0; ; number++ {
		key := fmt.Sprintf("key-%d", number%orderlyKeys)
		text := fmt.Sprintf("%s number %d", key, number)
		message := primitive.NewMessage(topic, []byte(text)).WithShardingKey(key)
		message.WithProperty("number", strconv.Itoa(number))
		if _, err := sender.SendSync(context.Background(), message); err != nil {
			t.Errorf("message %d: %v", number, err)
			return
		}
		s.texts = append(s.texts, text)
		select {
		case <-pace.C:
		case <-s.stopping:
			return
		}
	}
}

// stop returns the texts of everything that was sent.
func (s *stream) stop() []string {
	s.once.Do(func() { close(s.stopping) })
	s.running.Wait()
	return s.texts
}
