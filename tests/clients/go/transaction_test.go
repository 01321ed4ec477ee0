package clients

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/collector"
)

const (
	// A half message is checked in the first round, one every 30 s, that finds it older than 6 s.
	firstCheck = 45 * time.Second

	// slowAnswer is what the check handler of the tutorial takes.
	slowAnswer = 15 * time.Second
)

// localTransactions is a listener that decides by the text of the message, and notes who was checked.
type localTransactions struct {
	mutex   sync.Mutex
	checked map[string]int
	// answerAfter is how long a check takes.
	answerAfter time.Duration
}

func (l *localTransactions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch string(message.Body) {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (l *localTransactions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	l.mutex.Lock()
	if l.checked == nil {
		l.checked = map[string]int{}
	}
	l.checked[string(message.Body)]++
	l.mutex.Unlock()
	if 0 < l.answerAfter {
		time.Sleep(l.answerAfter)
	}
	if string(message.Body) == "unknown, then rollback" {
		return primitive.RollbackMessageState
	}
	return primitive.CommitMessageState
}

func (l *localTransactions) checks(text string) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.checked[text]
}

func sendInTransaction(t *testing.T, with rocketmq.TransactionProducer, topic, text string) *primitive.TransactionSendResult {
	t.Helper()
	result, err := with.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != primitive.SendOK || !sendResultText.MatchString(result.String()) {
		t.Fatalf("the half message was answered with %s", result)
	}
	return result
}

func TestTransactionsAreCommittedRolledBackAndChecked(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, shared, "transaction")
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))

	listener := &localTransactions{}
	sender := newTransactionProducer(t, shared, listener)
	sendInTransaction(t, sender, topic, "rollback")
	committed := sendInTransaction(t, sender, topic, "commit")
	delivery := received.Find(t, soon, "commit")
	if delivery.MsgId != committed.MsgID || delivery.TransactionId != committed.MsgID {
		t.Errorf("received message %s of transaction %s, sent was %s", delivery.MsgId, delivery.TransactionId, committed)
	}
	if int(delivery.SysFlag)&primitive.TransactionRollbackType != primitive.TransactionCommitType {
		t.Errorf("the committed message has flags %#x", delivery.SysFlag)
	}

	// The round that checks the last of these has passed the rolled back message and the others.
	sendInTransaction(t, sender, topic, "unknown, then rollback")
	unknown := sendInTransaction(t, sender, topic, "unknown, then commit")
	if delivery := received.Find(t, firstCheck, "unknown, then commit"); delivery.MsgId != unknown.MsgID {
		t.Errorf("received message %s, sent was %s", delivery.MsgId, unknown)
	}
	for text, want := range map[string]int{"commit": 0, "rollback": 0, "unknown, then rollback": 1, "unknown, then commit": 1} {
		if got := listener.checks(text); got != want {
			t.Errorf("the producer was asked %d times for %q, want %d", got, text, want)
		}
	}
	received.AwaitTexts(t, soon, sendToEachQueue(t, shared, topic, "mark")...)
	counts := collector.CountTexts(received.Deliveries())
	for text, want := range map[string]int{"commit": 1, "rollback": 0, "unknown, then rollback": 0, "unknown, then commit": 1} {
		if counts[text] != want {
			t.Errorf("%q was received %d times, want %d", text, counts[text], want)
		}
	}
}

func TestACheckMayBeAnsweredMuchLater(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, shared, "slow-check")
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))
	listener := &localTransactions{answerAfter: slowAnswer}
	sendInTransaction(t, newTransactionProducer(t, shared, listener), topic, "unknown, then commit")

	received.Find(t, firstCheck+slowAnswer, "unknown, then commit")
	received.AwaitTexts(t, soon, sendToEachQueue(t, shared, topic, "mark")...)
	if count := collector.CountTexts(received.Deliveries())["unknown, then commit"]; count != 1 {
		t.Errorf("the message was received %d times", count)
	}
	if count := listener.checks("unknown, then commit"); count != 1 {
		t.Errorf("the producer was asked %d times", count)
	}
}
