package clients

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"apogee.test/clients/go/collector"
)

func TestEachBroadcastingConsumerGetsEveryMessage(t *testing.T) {
	topic, group := newTopic(t, shared, "broadcast"), broadcastGroup(t)
	first, second := collector.New(), collector.New()
	broadcasting := consumer.WithConsumerModel(consumer.BroadCasting)
	startConsumer(t, shared, group, topic, first.Accept("first"), broadcasting)
	startConsumer(t, shared, group, topic, second.Accept("second"), broadcasting)

	texts := sendTexts(t, newProducer(t, shared), topic, "to all", 10*queueCount)
	texts = append(texts, sendToEachQueue(t, shared, topic, "mark")...)
	for _, received := range []*collector.Collector{first, second} {
		for text, count := range collector.CountTexts(received.AwaitTexts(t, soon, texts...)) {
			if count != 1 {
				t.Errorf("%s received %q %d times", received.Deliveries()[0].Consumer, text, count)
			}
		}
	}
}

// broadcastGroup names a group whose offsets, which the client keeps in a file, are removed afterwards.
func broadcastGroup(t *testing.T) string {
	group := unique("group")
	folder := os.Getenv("rocketmq.client.localOffsetStoreDir")
	if folder == "" {
		folder = filepath.Join(os.Getenv("HOME"), ".rocketmq_client_go")
	}
	t.Cleanup(func() {
		_ = os.RemoveAll(filepath.Join(folder, group))
		// Only if it is empty, so that nothing of anybody else is lost.
		_ = os.Remove(folder)
	})
	return group
}
