package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	client "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"

	"apogee.test/clients/acting"
)

const (
	// messageNotFound is what the client gives to the application when no message came in time.
	messageNotFound = 40401

	// requestTimeout is what the client allows each request on its own.
	requestTimeout = 30 * time.Second
)

// actor has the clients of one process by their names.
type actor struct {
	endpoint string
	events   *acting.Events

	stoppers     acting.Table[func() error]
	producers    acting.Table[client.Producer]
	consumers    acting.Table[client.SimpleConsumer]
	transactions acting.Table[client.Transaction]
	received     acting.Table[*client.MessageView]
	receipts     atomic.Int64
}

func (a *actor) do(order acting.Order) (acting.Report, error) {
	switch order.Do {
	case "start-producer":
		return acting.Report{}, a.startProducer(order)
	case "start-simple":
		return acting.Report{}, a.startSimple(order)
	case "start-push":
		return acting.Report{}, a.startPush(order)
	case "stop":
		return acting.Report{}, a.stoppers.Take(order.Name)()
	case "send":
		return sent(a.producers.Find(order.Name).Send(context.Background(), toClient(order.Message)))
	case "send-half":
		return a.sendHalf(order)
	case "end":
		transaction := a.transactions.Find(order.Transaction)
		if order.Outcome == "commit" {
			return acting.Report{}, transaction.Commit()
		}
		return acting.Report{}, transaction.RollBack()
	case "recall":
		id, err := a.producers.Find(order.Name).Recall(context.Background(), order.Topic, order.Handle)
		return acting.Report{Sent: &acting.Sent{ID: id}}, err
	case "receive":
		return a.receive(order)
	case "ack":
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		return acting.Report{}, a.consumers.Find(order.Name).Ack(ctx, a.received.Find(order.Receipt))
	case "change-invisible":
		view, invisible := a.received.Find(order.Receipt), milliseconds(order.InvisibleMs)
		return acting.Report{}, a.consumers.Find(order.Name).ChangeInvisibleDuration(view, invisible)
	default:
		return acting.Report{}, fmt.Errorf("unknown order %q", order.Do)
	}
}

func (a *actor) config(group string) *client.Config {
	return &client.Config{
		Endpoint: a.endpoint, ConsumerGroup: group, Credentials: &credentials.SessionCredentials{},
	}
}

func (a *actor) startProducer(order acting.Order) error {
	options := []client.ProducerOption{client.WithTopics(order.Topics...)}
	if order.Checks {
		options = append(options, client.WithTransactionChecker(&client.TransactionChecker{
			Check: func(view *client.MessageView) client.TransactionResolution {
				switch a.events.Ask(order.Name, fromClient(view)) {
				case "commit":
					return client.COMMIT
				case "rollback":
					return client.ROLLBACK
				default:
					return client.UNKNOWN
				}
			},
		}))
	}
	producer, err := client.NewProducer(a.config(""), options...)
	if err != nil {
		return err
	}
	a.producers.Keep(order.Name, producer)
	a.stoppers.Keep(order.Name, producer.GracefulStop)
	return producer.Start()
}

func (a *actor) startSimple(order acting.Order) error {
	consumer, err := client.NewSimpleConsumer(a.config(order.Group),
		client.WithSimpleAwaitDuration(milliseconds(order.AwaitMs)),
		client.WithSimpleSubscriptionExpressions(filters(order.Subscriptions)))
	if err != nil {
		return err
	}
	a.consumers.Keep(order.Name, consumer)
	a.stoppers.Keep(order.Name, consumer.GracefulStop)
	return consumer.Start()
}

func (a *actor) startPush(order acting.Order) error {
	listener := &client.FuncMessageListener{Consume: func(view *client.MessageView) client.ConsumerResult {
		if a.events.Ask(order.Name, fromClient(view)) == "success" {
			return client.SUCCESS
		}
		return client.FAILURE
	}}
	consumer, err := client.NewPushConsumer(a.config(order.Group),
		client.WithPushSubscriptionExpressions(filters(order.Subscriptions)),
		client.WithPushMessageListener(listener))
	if err != nil {
		return err
	}
	a.stoppers.Keep(order.Name, consumer.GracefulStop)
	return consumer.Start()
}

func (a *actor) sendHalf(order acting.Order) (acting.Report, error) {
	producer := a.producers.Find(order.Name)
	transaction := producer.BeginTransaction()
	a.transactions.Keep(order.Transaction, transaction)
	return sent(producer.SendWithTransaction(context.Background(), toClient(order.Message), transaction))
}

func sent(receipts []*client.SendReceipt, err error) (acting.Report, error) {
	if err != nil {
		return acting.Report{}, err
	}
	if len(receipts) != 1 {
		return acting.Report{}, fmt.Errorf("one message has %d receipts", len(receipts))
	}
	return acting.Report{Sent: &acting.Sent{ID: receipts[0].MessageID, RecallHandle: receipts[0].RecallHandle}}, nil
}

func (a *actor) receive(order acting.Order) (acting.Report, error) {
	views, err := a.consumers.Find(order.Name).Receive(context.Background(), int32(order.Max), milliseconds(order.InvisibleMs))
	if err != nil {
		if status, ok := client.AsErrRpcStatus(err); ok && status.Code == messageNotFound {
			return acting.Report{}, nil
		}
		return acting.Report{}, err
	}
	if len(views) == 0 {
		return acting.Report{}, errors.New("neither messages nor an error")
	}
	messages := make([]acting.Message, 0, len(views))
	for _, view := range views {
		message := fromClient(view)
		message.Receipt = fmt.Sprint(a.receipts.Add(1))
		a.received.Keep(message.Receipt, view)
		messages = append(messages, message)
	}
	return acting.Report{Messages: messages}, nil
}

func filters(subscriptions []acting.Subscription) map[string]*client.FilterExpression {
	filters := map[string]*client.FilterExpression{}
	for _, subscription := range subscriptions {
		kind := client.TAG
		if subscription.SQL {
			kind = client.SQL92
		}
		filters[subscription.Topic] = client.NewFilterExpressionWithType(subscription.Expression, kind)
	}
	return filters
}

func milliseconds(count int64) time.Duration {
	return time.Duration(count) * time.Millisecond
}
