package scenarios

import (
	"sync"
	"testing"
	"time"

	"apogee.test/clients/scenarios/actor"
)

// missed is how long a server may need to notice that a client is gone which did not say so.
const missed = 70 * time.Second

func TestTheMessagesOfADeadSimpleConsumerComeBack(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		texts := numbered("orphan", 5)
		sendTexts(t, newProducer(t, play(t, who), topic), topic, texts...)
		victim := playAlone(t, who, shared)
		consumer := newSimple(t, who, victim, group, all(topic))
		asked := nowMs()
		receive(t, consumer, len(texts), 2*invisible, soon)
		victim.Kill()

		again := receive(t, newSimple(t, who, play(t, who), group, all(topic)), len(texts), soon, 2*soon)
		checkTexts(t, again, texts...)
		for _, message := range again {
			if message.Attempt != 2 {
				t.Errorf("%q came as attempt %d", message.Text(), message.Attempt)
			}
		}
		if again[0].At().Before(asked.Add(2 * invisible)) {
			t.Errorf("%q came back after %v", again[0].Text(), again[0].At().Sub(asked))
		}
	})
}

func TestTheMessagesOfADeadPushConsumerComeBack(t *testing.T) {
	forEach(t, offersPush, func(t *testing.T, who client) {
		notStock(t, "it notices a dead client after two minutes")
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		texts := numbered("orphan", 5)
		victim, held := playAlone(t, who, shared), newInbox()
		never := make(chan struct{})
		t.Cleanup(sync.OnceFunc(func() { close(never) }))
		newPush(t, victim, group, func(message actor.Message) actor.Outcome {
			held.add(message)
			<-never
			return actor.Failure
		}, all(topic))
		sendTexts(t, newProducer(t, play(t, who), topic), topic, texts...)
		held.awaitTexts(t, soon, texts...)
		victim.Kill()
		died := time.Now()

		received := newInbox()
		newPush(t, play(t, who), group, received.accept, all(topic))
		messages := received.awaitTexts(t, missed, texts...)
		t.Logf("the last message was delivered again %v after the death", messages[len(messages)-1].At().Sub(died))
		checkTexts(t, messages, texts...)
	})
}

func TestOrderHoldsWhenAConsumerDies(t *testing.T) {
	forEach(t, offersOrder, func(t *testing.T, who client) {
		notStock(t, "it notices a dead client after two minutes")
		topic := newTopic(t, shared, "FIFO")
		group := newOrderedGroupFor(t, shared, who)
		texts := sendInGroups(t, newProducer(t, play(t, who), topic), topic, 0, 10)
		victim, finished := playAlone(t, who, shared), newInbox()
		never := make(chan struct{})
		t.Cleanup(sync.OnceFunc(func() { close(never) }))
		third, stuck := len(texts)/3, make(chan struct{})
		reached := sync.OnceFunc(func() { close(stuck) })
		newOrderedPush(t, victim, group, func(message actor.Message) actor.Outcome {
			if third <= len(finished.all()) {
				reached()
				<-never
			}
			return finished.accept(message)
		}, all(topic))
		<-stuck
		victim.Kill()
		newOrderedPush(t, play(t, who), group, finished.accept, all(topic))
		checkOrder(t, withoutRepeats(finished.awaitTexts(t, missed, texts...)))
	})
}

func TestTheTransactionsOfADeadProducerAreDecidedByAnother(t *testing.T) {
	forEach(t, func(who client) bool { return who.transactions && who.checks }, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "TRANSACTION"), newGroup(t, shared)
		victim := playAlone(t, who, shared)
		// As long as nobody knows the outcome, the dying one may be asked.
		undecided := func(actor.Message) actor.Outcome { return actor.Unknown }
		half, err := newCheckedProducer(t, victim, topic, undecided).SendHalf(actor.Message{Topic: topic, Body: []byte("orphan")})
		if err != nil {
			t.Fatal(err)
		}
		victim.Kill()
		by := playAlone(t, who, shared)
		newCheckedProducer(t, by, topic, func(actor.Message) actor.Outcome { return actor.Commit })
		message := receive(t, newSimple(t, who, by, group, all(topic)), 1, soon, missed)[0]
		if message.Text() != "orphan" || message.ID != half.ID {
			t.Errorf("received %q, %s, sent was %s", message.Text(), message.ID, half.ID)
		}
	})
}
