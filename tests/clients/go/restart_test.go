package clients

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/cluster"
	"apogee.test/clients/go/collector"
)

// reconnect is how long the clients may need to find a broker again: a heartbeat (30 s), then a
// rebalance (20 s), and a pull that waits 3 s after an error.
const reconnect = 75 * time.Second

// endings are the two ways a broker goes away in these tests.
var endings = map[string]func(*cluster.Cluster) error{
	"stop": (*cluster.Cluster).Stop,
	"kill": (*cluster.Cluster).Kill,
}

func restart(t *testing.T, own *cluster.Cluster, end func(*cluster.Cluster) error) {
	t.Helper()
	if err := end(own); err != nil {
		t.Fatal(err)
	}
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesSentBeforeTheBrokerWentAwayAreReceivedAfterwards(t *testing.T) {
	t.Parallel()
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := cluster.Own(t)
			topic := unique("kept")
			texts := sendTexts(t, newProducer(t, own), topic, "kept", 50*queueCount)
			restart(t, own, end)

			received := collector.New()
			awaitRoute(t, own, topic, soon)
			startConsumer(t, own, unique("group"), topic, received.Accept("only"))
			texts = append(texts, sendTexts(t, newProducer(t, own), topic, "new", 2*queueCount)...)
			texts = append(texts, sendToEachQueue(t, own, topic, "mark")...)
			for text, count := range collector.CountTexts(received.AwaitTexts(t, soon, texts...)) {
				if count != 1 {
					t.Errorf("%q was received %d times", text, count)
				}
			}
		})
	}
}

func TestOffsetsAreKeptWhenTheBrokerIsStopped(t *testing.T) {
	t.Parallel()
	own := cluster.Own(t)
	topic, group := newTopic(t, own, "kept-offsets"), unique("group")
	received := collector.New()
	first := startConsumer(t, own, group, topic, received.Accept("first"))
	received.AwaitTexts(t, soon, sendTexts(t, newProducer(t, own), topic, "before", 10*queueCount)...)
	awaitCommitted(t, own, group, topic, received, regularCommit)
	stop(t, first)
	restart(t, own, (*cluster.Cluster).Stop)

	awaitRoute(t, own, topic, soon)
	startConsumer(t, own, group, topic, received.Accept("second"))
	received.AwaitTexts(t, soon, sendToEachQueue(t, own, topic, "after")...)
	for text, count := range collector.CountTexts(received.Deliveries()) {
		if count != 1 {
			t.Errorf("%q was received %d times", text, count)
		}
	}
}

// Whatever a sender was told is stored must be there after the kill. What it was not told about may be.
func TestNoAcknowledgedMessageIsLostByAKillWhileSending(t *testing.T) {
	t.Parallel()
	own := cluster.Own(t)
	topic := newTopic(t, own, "kill-sending")
	senders := startSenders(t, own, topic)
	for _, acknowledged := range []int64{1000, 2500} {
		senders.await(t, acknowledged)
		restart(t, own, (*cluster.Cluster).Kill)
	}
	senders.await(t, senders.acknowledged.Load()+500)
	texts := senders.stop()

	received := collector.New()
	awaitRoute(t, own, topic, soon)
	startConsumer(t, own, unique("group"), topic, received.Accept("only"))
	received.AwaitTexts(t, reconnect, texts...)
	t.Logf("%d messages were acknowledged around two kills, and received", len(texts))
}

// senders send as fast as they are answered, and go on after errors.
type senders struct {
	stopping     chan struct{}
	once         sync.Once
	running      sync.WaitGroup
	acknowledged atomic.Int64
	mutex        sync.Mutex
	texts        []string
}

func startSenders(t *testing.T, own *cluster.Cluster, topic string) *senders {
	t.Helper()
	started := &senders{stopping: make(chan struct{})}
	for sender := range 4 {
		with := newProducer(t, own)
		started.running.Go(func() {
			for number := 0; !started.isStopping(); number++ {
				text := fmt.Sprintf("%d/%d", sender, number)
				result, err := with.SendSync(context.Background(), primitive.NewMessage(topic, []byte(text)))
				if err != nil || result.Status != primitive.SendOK {
					// The broker is away. There is no hurry to hear that once more.
					time.Sleep(pollInterval)
					continue
				}
				started.note(text)
			}
		})
	}
	t.Cleanup(func() { started.stop() })
	return started
}

func (s *senders) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

func (s *senders) note(text string) {
	s.mutex.Lock()
	s.texts = append(s.texts, text)
	s.mutex.Unlock()
	s.acknowledged.Add(1)
}

func (s *senders) await(t *testing.T, acknowledged int64) {
	t.Helper()
	eventually(t, reconnect, fmt.Sprintf("%d acknowledged messages", acknowledged), func() bool {
		return acknowledged <= s.acknowledged.Load()
	})
}

// stop returns the texts of all acknowledged messages.
func (s *senders) stop() []string {
	s.once.Do(func() { close(s.stopping) })
	s.running.Wait()
	return s.texts
}

func TestRunningClientsFindTheBrokerAgain(t *testing.T) {
	t.Parallel()
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := cluster.Own(t)
			topic := newTopic(t, own, "running-clients")
			sender := newProducer(t, own)
			received := collector.New()
			startConsumer(t, own, unique("group"), topic, received.Accept("only"))
			received.AwaitTexts(t, soon, sendTexts(t, sender, topic, "before", 2*queueCount)...)
			restart(t, own, end)

			eventually(t, reconnect, "the producer sending again", func() bool {
				result, err := sender.SendSync(context.Background(), primitive.NewMessage(topic, []byte("after")))
				return err == nil && result.Status == primitive.SendOK
			})
			back := time.Now()
			received.AwaitTexts(t, reconnect, sendTexts(t, sender, topic, "after", 2*queueCount)...)
			t.Logf("received %v after the broker was back", time.Since(back).Round(time.Second))
		})
	}
}

func TestADelayedMessageSurvivesAKill(t *testing.T) {
	t.Parallel()
	const level = 3
	own := cluster.Own(t)
	topic := newTopic(t, own, "kill-delay")
	result := send(t, newProducer(t, own), primitive.NewMessage(topic, []byte("delayed")).WithDelayTimeLevel(level))
	restart(t, own, (*cluster.Cluster).Kill)

	received := collector.New()
	awaitRoute(t, own, topic, soon)
	startConsumer(t, own, unique("group"), topic, received.Accept("only"))
	delivery := received.Find(t, delays[level]+soon, "delayed")
	if delivery.MsgId != result.MsgID {
		t.Errorf("received message %s, sent was %s", delivery.MsgId, result)
	}
	if taken := delivery.At.Sub(time.UnixMilli(delivery.BornTimestamp)); taken < delays[level] {
		t.Errorf("level %d took only %v", level, taken)
	}
}

// The producer lives on, reconnects with its next heartbeat and is asked in a later round of checks.
func TestAHalfMessageSurvivesAKill(t *testing.T) {
	t.Parallel()
	own := cluster.Own(t)
	topic := newTopic(t, own, "kill-half")
	listener := &localTransactions{}
	result := sendInTransaction(t, newTransactionProducer(t, own, listener), topic, "unknown, then commit")
	restart(t, own, (*cluster.Cluster).Kill)

	received := collector.New()
	awaitRoute(t, own, topic, soon)
	startConsumer(t, own, unique("group"), topic, received.Accept("only"))
	delivery := received.Find(t, reconnect+firstCheck, "unknown, then commit")
	if delivery.MsgId != result.MsgID {
		t.Errorf("received message %s, sent was %s", delivery.MsgId, result)
	}
}
