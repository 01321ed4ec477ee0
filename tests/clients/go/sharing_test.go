package clients

import (
	"fmt"
	"testing"
	"time"

	"apogee.test/clients/go/cluster"
	"apogee.test/clients/go/collector"
)

// takeover is how long queues may lie idle after their consumer has left: one rebalance interval of
// the client and some room.
const takeover = 25 * time.Second

func TestTwoConsumersShareAndTheOneThatStaysTakesOver(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, shared, "sharing"), unique("group")
	received := collector.New()
	startConsumer(t, shared, group, topic, received.Accept("stays"))
	leaving := startConsumer(t, shared, group, topic, received.Accept("leaves"))

	awaitHalves(t, shared, topic, received)

	left := time.Now()
	if err := leaving.Shutdown(); err != nil {
		t.Fatal(err)
	}
	texts := sendToEachQueue(t, shared, topic, "after leaving")
	received.AwaitTexts(t, takeover, texts...)
	for _, text := range texts {
		if delivery := received.Find(t, 0, text); delivery.Consumer != "stays" {
			t.Errorf("%q was received by the consumer that had left", text)
		}
	}
	t.Logf("all queues were taken over after %v", time.Since(left).Round(time.Millisecond))
}

// awaitHalves sends a message to each queue, again and again, until both consumers receive from half of
// the queues each. The queues of the second consumer come one by one, so the first rounds may differ.
func awaitHalves(t *testing.T, on *cluster.Cluster, topic string, received *collector.Collector) {
	t.Helper()
	round := 0
	eventually(t, takeover, "both consumers having half of the queues", func() bool {
		round++
		texts := sendToEachQueue(t, on, topic, fmt.Sprintf("round %d queue", round))
		received.AwaitTexts(t, takeover, texts...)
		shares := map[string]int{}
		for _, text := range texts {
			shares[received.Find(t, 0, text).Consumer]++
		}
		return shares["stays"] == queueCount/2 && shares["leaves"] == queueCount/2
	})
}
