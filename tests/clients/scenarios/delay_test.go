package scenarios

import (
	"testing"
	"time"

	"apogee.test/clients/scenarios/actor"
)

// illegalDeliveryTime is the code for a time too far ahead.
const illegalDeliveryTime = 40012

func TestDelayedMessagesAreNeverEarly(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "DELAY"), newGroup(t, shared)
		by := play(t, who)
		producer, consumer := newProducer(t, by, topic), newSimple(t, who, by, group, all(topic))
		due := map[string]time.Time{}
		for text, delay := range map[string]time.Duration{
			"1.5 s": 1500 * time.Millisecond, "3 s": 3 * time.Second, "7 s": 7 * time.Second, "in the past": -time.Hour,
		} {
			due[text] = deliveryTime(who, delay)
			send(t, producer, actor.Message{Topic: topic, Body: []byte(text), DeliverAtMs: due[text].UnixMilli()})
		}
		for range due {
			message := receive(t, consumer, 1, soon, soon)[0]
			ack(t, consumer, message)
			if message.Text() == "in the past" {
				checkTimeAbout(t, message, time.UnixMilli(message.BornMs).Add(time.Second), time.Second)
				continue
			}
			checkTime(t, message, due[message.Text()])
			if at := time.UnixMilli(message.DeliverAtMs); who.tellsDeliveryTime && !at.Equal(due[message.Text()]) {
				t.Errorf("%q tells the delivery time %v, sent was %v", message.Text(), at, due[message.Text()])
			}
		}
	})
}

// deliveryTime is about so long from now, as precise as the client can say it.
func deliveryTime(who client, delay time.Duration) time.Time {
	return time.UnixMilli(time.Now().UnixMilli()).Add(delay + who.delayStep - 1).Truncate(who.delayStep)
}

func TestADeliveryTimeMayBeWeeksAheadButNotMonths(t *testing.T) {
	forEach(t, func(who client) bool { return who.recall }, func(t *testing.T, who client) {
		notStock(t, "the limit is a day")
		const day = 24 * time.Hour
		topic := newTopic(t, shared, "DELAY")
		producer := newProducer(t, play(t, who), topic)
		send(t, producer, actor.Message{Topic: topic, Body: []byte("weeks"), DeliverAtMs: deliveryTime(who, 39*day).UnixMilli()})
		_, err := producer.Send(actor.Message{Topic: topic, Body: []byte("months"), DeliverAtMs: deliveryTime(who, 41*day).UnixMilli()})
		checkRefused(t, err, illegalDeliveryTime)
	})
}

func TestARecalledMessageIsNotDelivered(t *testing.T) {
	forEach(t, func(who client) bool { return who.recall }, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "DELAY"), newGroup(t, shared)
		by := play(t, who)
		producer, consumer := newProducer(t, by, topic), newSimple(t, who, by, group, all(topic))
		handles := map[string]actor.Sent{}
		due := deliveryTime(who, 6*time.Second)
		for _, text := range []string{"recalled", "not recalled"} {
			handles[text] = send(t, producer, actor.Message{Topic: topic, Body: []byte(text), DeliverAtMs: due.UnixMilli()})
			if handles[text].RecallHandle == "" {
				t.Fatalf("%q has no recall handle", text)
			}
		}
		recalled, err := producer.Recall(topic, handles["recalled"].RecallHandle)
		if err != nil {
			t.Fatal(err)
		}
		if recalled.ID != handles["recalled"].ID {
			t.Errorf("recalled message %s, asked for was %s", recalled.ID, handles["recalled"].ID)
		}
		message := receive(t, consumer, 1, soon, soon)[0]
		ack(t, consumer, message)
		if message.Text() != "not recalled" {
			t.Errorf("received %q", message.Text())
		}
		checkTime(t, message, due)
		expectNothing(t, consumer, lateMax)
		if _, err := producer.Recall(topic, handles["not recalled"].RecallHandle); err == nil {
			t.Error("a delivered message could be recalled")
		}
	})
}
