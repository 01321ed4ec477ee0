// Package collector keeps what consumers receive and lets tests wait until it is enough.
package collector

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const deliveriesShown = 20

// Delivery is one message handed to a consumer, noted before the consumer answers for it.
type Delivery struct {
	*primitive.MessageExt
	// Consumer is the name the handler was made with.
	Consumer string
	At       time.Time
}

// Text is the body as the tests write it.
func (d Delivery) Text() string {
	return string(d.Body)
}

// Collector gathers the deliveries of any number of consumers, in the order they happened.
type Collector struct {
	mutex      sync.Mutex
	deliveries []Delivery
	grown      chan struct{}
}

// New returns an empty collector.
func New() *Collector {
	return &Collector{grown: make(chan struct{})}
}

// Handler is what a test gives to Subscribe: type and result of the Go client's callback.
type Handler = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// Accept returns a handler that notes each message under the consumer's name and reports success.
func (c *Collector) Accept(consumerName string) Handler {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		c.Add(consumerName, messages...)
		return consumer.ConsumeSuccess, nil
	}
}

// Add notes messages as delivered now.
func (c *Collector) Add(consumerName string, messages ...*primitive.MessageExt) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, message := range messages {
		c.deliveries = append(c.deliveries, Delivery{message, consumerName, time.Now()})
	}
	close(c.grown)
	c.grown = make(chan struct{})
}

// Deliveries returns what has arrived so far. The slice must not be changed.
func (c *Collector) Deliveries() []Delivery {
	deliveries, _ := c.snapshot()
	return deliveries
}

// Later deliveries are appended behind the returned slice, never written into it.
func (c *Collector) snapshot() ([]Delivery, <-chan struct{}) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.deliveries[:len(c.deliveries):len(c.deliveries)], c.grown
}

// Await waits until enough says yes to the deliveries so far, and returns them. It ends the test when
// that takes longer than within; expected tells the reader what was waited for.
func (c *Collector) Await(t testing.TB, within time.Duration, expected string, enough func([]Delivery) bool) []Delivery {
	t.Helper()
	deadline := time.After(within)
	for {
		deliveries, grown := c.snapshot()
		if enough(deliveries) {
			return deliveries
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("%v passed without %s; received: %s", within, expected, describe(deliveries))
		}
	}
}

// AwaitTexts waits until each of the texts was received at least once.
func (c *Collector) AwaitTexts(t testing.TB, within time.Duration, texts ...string) []Delivery {
	t.Helper()
	expected := fmt.Sprintf("all of the %d expected messages", len(texts))
	return c.Await(t, within, expected, func(deliveries []Delivery) bool {
		if len(deliveries) < len(texts) {
			return false
		}
		counts := CountTexts(deliveries)
		for _, text := range texts {
			if counts[text] == 0 {
				return false
			}
		}
		return true
	})
}

// Find waits for a message with this text and returns its first delivery.
func (c *Collector) Find(t testing.TB, within time.Duration, text string) Delivery {
	t.Helper()
	for _, delivery := range c.AwaitTexts(t, within, text) {
		if delivery.Text() == text {
			return delivery
		}
	}
	panic("AwaitTexts returned without the text")
}

// CountTexts tells how often each text was received.
func CountTexts(deliveries []Delivery) map[string]int {
	counts := make(map[string]int, len(deliveries))
	for _, delivery := range deliveries {
		counts[delivery.Text()]++
	}
	return counts
}

func describe(deliveries []Delivery) string {
	if len(deliveries) == 0 {
		return "nothing"
	}
	var lines strings.Builder
	fmt.Fprintf(&lines, "%d messages, last", len(deliveries))
	for _, delivery := range deliveries[max(0, len(deliveries)-deliveriesShown):] {
		fmt.Fprintf(&lines, "\n  %s %s: %.60q of %s queue %d offset %d", delivery.At.Format("15:04:05.000"),
			delivery.Consumer, delivery.Text(), delivery.Topic, delivery.Queue.QueueId, delivery.QueueOffset)
	}
	return lines.String()
}
