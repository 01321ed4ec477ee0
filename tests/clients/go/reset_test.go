package clients

import (
	"testing"
	"time"

	"apogee.test/clients/go/collector"
	"apogee.test/clients/go/remoting"
)

// resetPatience is what a Go consumer needs that is sent elsewhere: it rests for 10 s, and takes its queues
// again in its next round, which comes every 20 s.
const resetPatience = 60 * time.Second

func TestOffsetsAreResetWhileAConsumerRuns(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, shared, "reset"), unique("group")
	received := collector.New()
	startConsumer(t, shared, group, topic, received.Accept("only"))
	texts := sendTexts(t, newProducer(t, shared), topic, "again", 2*queueCount)
	received.AwaitTexts(t, soon, texts...)

	broker, err := remoting.Master(shared.Nameserver, topic)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := remoting.Call(broker, remoting.ResetOffset, map[string]string{
		"topic": topic, "group": group, "timestamp": "0", "isForce": "true",
	})
	if err != nil || reply.Code != remoting.Success {
		t.Fatalf("the reset was answered with %+v, %v", reply, err)
	}
	eventually(t, resetPatience, "every message coming again", func() bool {
		counts := collector.CountTexts(received.Deliveries())
		for _, text := range texts {
			if counts[text] < 2 {
				return false
			}
		}
		return true
	})
}
