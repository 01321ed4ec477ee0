package actor

import (
	"time"

	"apogee.test/clients/acting"
)

// What scenarios say and hear.
type (
	Message      = acting.Message
	Sent         = acting.Sent
	Subscription = acting.Subscription
	Outcome      = acting.Outcome
	Refused      = acting.Refused
)

// Outcomes of listeners and of transactions.
const (
	Success  = acting.Success
	Failure  = acting.Failure
	Commit   = acting.Commit
	Rollback = acting.Rollback
	Unknown  = acting.Unknown
)

func sent(result acting.Report) Sent {
	if result.Sent == nil {
		return Sent{}
	}
	return *result.Sent
}

// Producer sends messages.
type Producer struct {
	actor *Actor
	name  string
}

// Producer starts a producer of the topics. With a checker it is asked about transactions whose end the
// server has not learned; remoting producers belong to the group.
func (a *Actor) Producer(group string, topics []string, checker func(Message) Outcome) (*Producer, error) {
	name := newName("producer")
	if checker != nil {
		a.listen(name, checker)
	}
	_, err := a.call(acting.Order{Do: "start-producer", Name: name, Group: group, Topics: topics, Checks: checker != nil})
	return &Producer{a, name}, err
}

// Send returns once the message is stored.
func (p *Producer) Send(message Message) (Sent, error) {
	result, err := p.actor.call(acting.Order{Do: "send", Name: p.name, Message: &message})
	return sent(result), err
}

// SendHalf sends a message that nobody receives until its transaction is committed.
func (p *Producer) SendHalf(message Message) (*Transaction, error) {
	name := newName("transaction")
	result, err := p.actor.call(acting.Order{Do: "send-half", Name: p.name, Message: &message, Transaction: name})
	return &Transaction{Sent: sent(result), producer: p, name: name}, err
}

// SendInTransaction sends a half message and answers for its local transaction with the outcome, which
// is how remoting clients do it.
func (p *Producer) SendInTransaction(message Message, outcome Outcome) (Sent, error) {
	result, err := p.actor.call(acting.Order{Do: "send-in-transaction", Name: p.name, Message: &message, Outcome: outcome})
	return sent(result), err
}

// Recall takes back a message that was not delivered yet and returns its id.
func (p *Producer) Recall(topic, handle string) (Sent, error) {
	result, err := p.actor.call(acting.Order{Do: "recall", Name: p.name, Topic: topic, Handle: handle})
	return sent(result), err
}

// Stop ends the producer as an application would.
func (p *Producer) Stop() error {
	_, err := p.actor.call(acting.Order{Do: "stop", Name: p.name})
	return err
}

// Transaction is a half message whose end is open.
type Transaction struct {
	Sent
	producer *Producer
	name     string
}

// End commits the transaction or rolls it back.
func (t *Transaction) End(outcome Outcome) error {
	_, err := t.producer.actor.call(acting.Order{
		Do: "end", Name: t.producer.name, Transaction: t.name, Outcome: outcome,
	})
	return err
}

// SimpleConsumer receives messages when it is told to.
type SimpleConsumer struct {
	actor *Actor
	name  string
}

// SimpleConsumer starts a consumer that waits for messages up to the await duration.
func (a *Actor) SimpleConsumer(group string, await time.Duration, to ...Subscription) (*SimpleConsumer, error) {
	name := newName("simple")
	_, err := a.call(acting.Order{
		Do: "start-simple", Name: name, Group: group, Subscriptions: to, AwaitMs: await.Milliseconds(),
	})
	return &SimpleConsumer{a, name}, err
}

// Receive returns up to so many messages, or none when none came within the await duration.
func (c *SimpleConsumer) Receive(most int, invisible time.Duration) ([]Message, error) {
	result, err := c.actor.call(acting.Order{
		Do: "receive", Name: c.name, Max: most, InvisibleMs: invisible.Milliseconds(),
	})
	return result.Messages, err
}

// Ack says that the message is done with.
func (c *SimpleConsumer) Ack(message Message) error {
	_, err := c.actor.call(acting.Order{Do: "ack", Name: c.name, Receipt: message.Receipt})
	return err
}

// ChangeInvisible moves the time at which the message is delivered again. Later calls for this delivery
// use what the client keeps of the answer.
func (c *SimpleConsumer) ChangeInvisible(message Message, invisible time.Duration) error {
	_, err := c.actor.call(acting.Order{
		Do: "change-invisible", Name: c.name, Receipt: message.Receipt, InvisibleMs: invisible.Milliseconds(),
	})
	return err
}

// Stop ends the consumer as an application would.
func (c *SimpleConsumer) Stop() error {
	_, err := c.actor.call(acting.Order{Do: "stop", Name: c.name})
	return err
}

// PushConsumer gives messages to a listener.
type PushConsumer struct {
	actor *Actor
	name  string
}

// PushConsumer starts a consumer. Ordered is for those clients that do not learn it from the server.
func (a *Actor) PushConsumer(group string, ordered bool, listener func(Message) Outcome, to ...Subscription) (*PushConsumer, error) {
	name := newName("push")
	a.listen(name, listener)
	_, err := a.call(acting.Order{Do: "start-push", Name: name, Group: group, Subscriptions: to, Ordered: ordered})
	return &PushConsumer{a, name}, err
}

// Stop ends the consumer as an application would.
func (c *PushConsumer) Stop() error {
	_, err := c.actor.call(acting.Order{Do: "stop", Name: c.name})
	return err
}
