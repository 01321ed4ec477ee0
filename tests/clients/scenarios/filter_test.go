package scenarios

import (
	"errors"
	"strings"
	"testing"

	"apogee.test/clients/scenarios/actor"
)

// illegalFilterExpression is the code for expressions that do not parse.
const illegalFilterExpression = 40010

// goods are what the filters choose from.
func goods(topic string) []actor.Message {
	return []actor.Message{
		{Topic: topic, Body: []byte("apple"), Tag: "fruit", Properties: map[string]string{"price": "3", "region": "eu"}},
		{Topic: topic, Body: []byte("pear"), Tag: "fruit", Properties: map[string]string{"price": "7", "region": "us"}},
		{Topic: topic, Body: []byte("leek"), Tag: "vegetable", Properties: map[string]string{"price": "12"}},
		{Topic: topic, Body: []byte("stone"), Tag: "mineral", Properties: map[string]string{"region": "eu"}},
		{Topic: topic, Body: []byte("nameless"), Properties: map[string]string{"price": "1", "region": "it's"}},
	}
}

func TestFiltersChooseByTagAndByProperties(t *testing.T) {
	cases := []struct {
		name    string
		filter  actor.Subscription
		matches string
	}{
		{"a tag", actor.Subscription{Expression: "fruit"}, "apple pear"},
		{"several tags", actor.Subscription{Expression: "vegetable || mineral"}, "leek stone"},
		{"everything", actor.Subscription{Expression: "*"}, "apple pear leek stone nameless"},
		{"numbers", actor.Subscription{SQL: true, Expression: "price > 5 AND price <= 12"}, "pear leek"},
		{"a number with a fraction", actor.Subscription{SQL: true, Expression: "price >= 6.5"}, "pear leek"},
		{"a missing property", actor.Subscription{SQL: true, Expression: "region IS NULL"}, "leek"},
		{"not equal to a missing one", actor.Subscription{SQL: true, Expression: "region <> 'eu'"}, "pear nameless"},
		{"tags and sets", actor.Subscription{SQL: true, Expression: "TAGS IN ('fruit', 'mineral') AND region = 'eu'"}, "apple stone"},
		{"between, or, not", actor.Subscription{SQL: true, Expression: "price BETWEEN 1 AND 3 OR NOT (price < 10)"}, "apple leek nameless"},
		{"a quoted quote", actor.Subscription{SQL: true, Expression: "region = 'it''s'"}, "nameless"},
	}
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "NORMAL")
		by := play(t, who)
		producer := newProducer(t, by, topic)
		consumers := map[string]*actor.SimpleConsumer{}
		for _, example := range cases {
			if example.filter.SQL && !who.sql {
				continue
			}
			example.filter.Topic = topic
			consumers[example.name] = newSimple(t, who, by, newGroup(t, shared), example.filter)
		}
		// Twice: what a filter leaves out must not hold back what follows.
		for range 2 {
			for _, message := range goods(topic) {
				send(t, producer, message)
			}
			for _, example := range cases {
				consumer := consumers[example.name]
				if consumer == nil {
					continue
				}
				t.Run(example.name, func(t *testing.T) {
					receiveAndAck(t, consumer, strings.Fields(example.matches)...)
				})
			}
		}
		for name, consumer := range consumers {
			if messages := ask(t, consumer, 1, invisible); len(messages) != 0 {
				t.Errorf("%s: received %s", name, describe(messages))
			}
		}
	})
}

func TestAPushConsumerReceivesWhatItsFilterChooses(t *testing.T) {
	forEach(t, offersPush, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "NORMAL")
		by := play(t, who)
		tagged, priced := newInbox(), newInbox()
		newPush(t, by, newGroup(t, shared), tagged.accept, actor.Subscription{Topic: topic, Expression: "fruit || mineral"})
		if who.sql {
			newPush(t, by, newGroup(t, shared), priced.accept, actor.Subscription{Topic: topic, SQL: true, Expression: "price > 5"})
		}
		producer := newProducer(t, by, topic)
		for _, message := range goods(topic) {
			send(t, producer, message)
		}
		tags := []string{"apple", "pear", "stone"}
		checkTexts(t, tagged.awaitTexts(t, 2*soon, tags...), tags...)
		if who.sql {
			checkTexts(t, priced.awaitTexts(t, 2*soon, "pear", "leek"), "pear", "leek")
		}
	})
}

func TestABadFilterIsRefused(t *testing.T) {
	forEach(t, func(who client) bool { return who.simple && who.sql }, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := playAlone(t, who, shared)
		consumer, err := by.SimpleConsumer(group, awaitOf(who), actor.Subscription{Topic: topic, SQL: true, Expression: "price >"})
		if err == nil {
			_, err = consumer.Receive(1, invisible)
		}
		// Some clients are refused when they start, and tell no code then.
		if err == nil {
			t.Fatal("the consumer received nothing, and no error")
		}
		t.Log(err)
	})
}

// checkRefused complains unless a client was refused with this code.
func checkRefused(t *testing.T, err error, code int) {
	t.Helper()
	var refused *actor.Refused
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("want to be refused with code %d, got %v", code, err)
	}
}
