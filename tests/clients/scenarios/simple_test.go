package scenarios

import (
	"sync"
	"testing"
	"time"

	"apogee.test/clients/scenarios/actor"
)

func TestWhatIsNotAcknowledgedComesBackWhenItsTimeIsOver(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		consumer := newSimple(t, who, by, group, all(topic))
		sendTexts(t, newProducer(t, by, topic), topic, "acknowledged", "forgotten")

		first, asked := map[string]actor.Message{}, nowMs()
		for _, message := range receive(t, consumer, 2, invisible, soon) {
			first[message.Text()] = message
		}
		ack(t, consumer, first["acknowledged"])
		again := receive(t, consumer, 1, invisible, soon)[0]
		if again.Text() != "forgotten" || again.Attempt != 2 || again.ID != first["forgotten"].ID {
			t.Errorf("received %q, attempt %d, id %s", again.Text(), again.Attempt, again.ID)
		}
		checkBack(t, again, asked, first["forgotten"], invisible)
		ack(t, consumer, again)
		expectNothing(t, consumer, invisible+lateMax)
	})
}

func TestTheInvisibleTimeCanBeChanged(t *testing.T) {
	forEach(t, offersChange, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		producer, consumer := newProducer(t, by, topic), newSimple(t, who, by, group, all(topic))

		const shorter, longer = 3 * time.Second, 15 * time.Second
		for _, change := range []struct {
			text           string
			first, changed time.Duration
		}{{"shorter", time.Minute, shorter}, {"longer", invisible, longer}} {
			sendTexts(t, producer, topic, change.text)
			received := receive(t, consumer, 1, change.first, soon)[0]
			before := nowMs()
			if err := consumer.ChangeInvisible(received, change.changed); err != nil {
				t.Fatal(err)
			}
			again := receive(t, consumer, 1, invisible, change.changed+soon)[0]
			if again.Text() != change.text || again.Attempt != 2 {
				t.Errorf("received %q, attempt %d", again.Text(), again.Attempt)
			}
			checkTime(t, again, before.Add(change.changed))
			ack(t, consumer, again)
		}
	})
}

func TestAMessageWhoseTimeWasChangedCanBeAcknowledged(t *testing.T) {
	forEach(t, offersChange, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		consumer := newSimple(t, who, by, group, all(topic))
		sendTexts(t, newProducer(t, by, topic), topic, "changed")
		received := receive(t, consumer, 1, invisible, soon)[0]
		if err := consumer.ChangeInvisible(received, invisible); err != nil {
			t.Fatal(err)
		}
		// Whichever handle the client uses for it, the new or the first.
		ack(t, consumer, received)
		expectNothing(t, consumer, invisible+lateMax)
	})
}

func TestABatchIsNoLargerThanAskedFor(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		const count, most = 60, 7
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		consumer := newSimple(t, who, by, group, all(topic))
		texts := numbered("batched", count)
		sendTexts(t, newProducer(t, by, topic), topic, texts...)

		var received []actor.Message
		largest := 0
		for deadline := time.Now().Add(soon); len(received) < count && time.Now().Before(deadline); {
			messages := ask(t, consumer, most, 2*soon)
			largest = max(largest, len(messages))
			ack(t, consumer, messages...)
			received = append(received, messages...)
		}
		checkTexts(t, received, texts...)
		if most < largest || largest < 2 {
			t.Errorf("the largest of the batches has %d messages, asked for were %d", largest, most)
		}
	})
}

func TestAReceiverThatWaitsIsWokenByAMessage(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		producer, consumer := newProducer(t, by, topic), newSimple(t, who, by, group, all(topic))
		received, stopped := newInbox(), make(chan struct{})
		var receiving sync.WaitGroup
		receiving.Go(func() {
			for {
				select {
				case <-stopped:
					return
				default:
				}
				messages, err := consumer.Receive(1, invisible)
				if err != nil && !stock {
					t.Error(err)
					return
				}
				for _, message := range messages {
					received.add(message)
					if err := consumer.Ack(message); err != nil {
						t.Error(err)
					}
				}
			}
		})
		defer receiving.Wait()
		defer close(stopped)
		// The first message may find the client at looking for its route.
		sendTexts(t, producer, topic, "first")
		received.awaitTexts(t, soon, "first")
		for _, text := range numbered("woken by", 5) {
			before := time.Now()
			sendTexts(t, producer, topic, text)
			message := received.awaitText(t, soon, text, 1)
			if taken := message.At().Sub(before); lateMax < taken {
				t.Errorf("%q was received after %v", text, taken)
			}
		}
	})
}

func TestAReceiverIsKeptWaitingWhenThereIsNothing(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		consumer := newSimple(t, who, play(t, who), group, all(topic))
		if who.await != 0 {
			notStock(t, "it answers at the time limit of a call, which is too late")
		}
		// The first call may find the client at looking for its route.
		for range 2 {
			before := time.Now()
			messages, err := consumer.Receive(32, invisible)
			if err != nil || len(messages) != 0 {
				t.Fatalf("received %s, %v", describe(messages), err)
			}
			if waited := time.Since(before); waited < awaitOf(who)-time.Second || awaitOf(who)+4*time.Second < waited {
				t.Errorf("the answer came after %v, asked for were %v", waited, awaitOf(who))
			}
		}
	})
}

func TestConsumersOfAGroupShareAndEachGroupReceivesAll(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, sharing := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		one, two := newSimple(t, who, by, sharing, all(topic)), newSimple(t, who, by, sharing, all(topic))
		other := newSimple(t, who, by, newGroup(t, shared), all(topic))
		texts := numbered("shared", 40)
		sendTexts(t, newProducer(t, by, topic), topic, texts...)

		receiveAndAck(t, other, texts...)
		received := receive(t, one, 10, soon, soon)
		for deadline := time.Now().Add(soon); len(received) < len(texts) && time.Now().Before(deadline); {
			for _, consumer := range []*actor.SimpleConsumer{two, one} {
				received = append(received, ask(t, consumer, 4, 2*soon)...)
			}
		}
		checkTexts(t, received, texts...)
	})
}

func TestAGroupThatNobodyCreatedReceives(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		notStock(t, "its proxy in local mode knows only groups that were created")
		topic := newTopic(t, shared, "NORMAL")
		by := play(t, who)
		texts := numbered("uncreated", 5)
		sendTexts(t, newProducer(t, by, topic), topic, texts...)
		receiveAndAck(t, newSimple(t, who, by, unique("uncreated"), all(topic)), texts...)
	})
}
