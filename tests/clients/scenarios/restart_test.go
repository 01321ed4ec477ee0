package scenarios

import (
	"sync"
	"testing"
	"time"

	"apogee.test/clients/go/cluster"

	"apogee.test/clients/scenarios/actor"
)

// reconnect is how long clients may need to find a broker again: some look every 30 s.
const reconnect = 75 * time.Second

func TestClientsSurviveABrokerThatIsStoppedAndStartedAgain(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		playRestart(t, who, func(own *cluster.Cluster) error { return own.Stop() }, false)
	})
}

func TestClientsSurviveABrokerThatIsKilledAndStartedAgain(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		playRestart(t, who, func(own *cluster.Cluster) error { return own.Kill() }, true)
	})
}

// playRestart ends the broker while its clients live. Whether it may forget that messages were handed out
// or acknowledged, and give them out again, is up to how it ended.
func playRestart(t *testing.T, who client, end func(*cluster.Cluster) error, mayRepeat bool) {
	notStock(t, "it does not know clients any more that knew its predecessor")
	own := cluster.Own(t, settings...)
	topic, group := newTopic(t, own, "NORMAL"), newGroup(t, own)
	by := playAlone(t, who, own)
	producer, consumer := newProducer(t, by, topic), newSimple(t, who, by, group, all(topic))
	pushed := newInbox()
	if who.push {
		newPush(t, by, newGroup(t, own), pushed.accept, all(topic))
	}
	before := numbered("before", 20)
	sendTexts(t, producer, topic, before...)
	finished := receive(t, consumer, len(before)/2, 2*reconnect, soon)
	ack(t, consumer, finished...)
	// What is received and not acknowledged is held over the restart.
	held, err := consumer.Receive(1, 2*reconnect)
	if err != nil || len(held) != 1 {
		t.Fatalf("received %s, %v", describe(held), err)
	}
	if who.push {
		pushed.awaitTexts(t, soon, before...)
	}
	if err := end(own); err != nil {
		t.Fatal(err)
	}
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}

	after := numbered("after", 20)
	for _, text := range after {
		sendUntilStored(t, producer, actor.Message{Topic: topic, Body: []byte(text)})
	}
	seen := map[string]bool{}
	for _, message := range finished {
		seen[message.Text()] = true
	}
	missing := func() (missing []string) {
		for _, text := range append(before, after...) {
			if !seen[text] && text != held[0].Text() {
				missing = append(missing, text)
			}
		}
		return missing
	}
	for deadline := time.Now().Add(reconnect); len(missing()) != 0; {
		// Errors are to be expected while the client finds its way back.
		messages, err := consumer.Receive(32, 2*reconnect)
		for _, message := range messages {
			repeated := seen[message.Text()] || message.Text() == held[0].Text()
			if repeated && !mayRepeat {
				t.Errorf("%q came again", message.Text())
			}
			seen[message.Text()] = true
			ack(t, consumer, message)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v after the restart there are missing %q, the last error is %v", reconnect, missing(), err)
		}
	}
	if who.push {
		pushed.awaitTexts(t, reconnect, after...)
	}
	// A receipt of the broker that ended is good at its successor.
	ack(t, consumer, held...)
}

func TestOrderHoldsOverAKilledBroker(t *testing.T) {
	forEach(t, offersOrder, func(t *testing.T, who client) {
		notStock(t, "it does not know clients any more that knew its predecessor")
		own := cluster.Own(t, settings...)
		topic, group := newTopic(t, own, "FIFO"), newOrderedGroupFor(t, own, who)
		by, finished := playAlone(t, who, own), newInbox()
		texts := sendInGroups(t, newProducer(t, by, topic), topic, 0, 10)
		third, reached, goOn := len(texts)/3, make(chan struct{}), make(chan struct{})
		stuck := sync.OnceFunc(func() { close(reached) })
		newOrderedPush(t, by, group, func(message actor.Message) actor.Outcome {
			if third <= len(finished.all()) {
				stuck()
				<-goOn
			}
			return finished.accept(message)
		}, all(topic))
		<-reached
		// Some messages are in the hands of the listener, some wait behind them.
		if err := own.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := own.Start(); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		checkOrder(t, withoutRepeats(finished.awaitTexts(t, reconnect+missed, texts...)))
	})
}

// sendUntilStored tries again as an application would.
func sendUntilStored(t *testing.T, with *actor.Producer, message actor.Message) {
	t.Helper()
	for deadline := time.Now().Add(reconnect); ; time.Sleep(pollInterval) {
		_, err := with.Send(message)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q could not be sent within %v: %v", message.Text(), reconnect, err)
		}
	}
}

func TestDelaysAndTransactionsSurviveAKilledBroker(t *testing.T) {
	forEach(t, func(who client) bool { return who.transactions && who.checks }, func(t *testing.T, who client) {
		own := cluster.Own(t, settings...)
		delayed, halves, group := newTopic(t, own, "DELAY"), newTopic(t, own, "TRANSACTION"), newGroup(t, own)
		by := playAlone(t, who, own)
		due := deliveryTime(who, 15*time.Second)
		send(t, newProducer(t, by, delayed), actor.Message{Topic: delayed, Body: []byte("delayed"), DeliverAtMs: due.UnixMilli()})
		var mutex sync.Mutex
		restarted := false
		checked := newCheckedProducer(t, by, halves, func(actor.Message) actor.Outcome {
			mutex.Lock()
			defer mutex.Unlock()
			if restarted {
				return actor.Commit
			}
			return actor.Unknown
		})
		if _, err := checked.SendHalf(actor.Message{Topic: halves, Body: []byte("half")}); err != nil {
			t.Fatal(err)
		}
		if err := own.Kill(); err != nil {
			t.Fatal(err)
		}
		mutex.Lock()
		restarted = true
		mutex.Unlock()
		if err := own.Start(); err != nil {
			t.Fatal(err)
		}
		// A client of the same kind that was started afterwards: how soon the old one is known again is
		// the client's affair.
		later := playAlone(t, who, own)
		newCheckedProducer(t, later, halves, func(actor.Message) actor.Outcome { return actor.Commit })
		for text, topic := range map[string]string{"delayed": delayed, "half": halves} {
			message := receive(t, newSimple(t, who, later, group, all(topic)), 1, soon, 2*soon)[0]
			if message.Text() != text {
				t.Errorf("received %q", message.Text())
			}
			if text == "delayed" && message.At().Before(due) {
				t.Errorf("the delayed message came %v early", due.Sub(message.At()))
			}
		}
	})
}
