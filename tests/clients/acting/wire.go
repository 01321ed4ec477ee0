// Package acting is what actors and scenarios say to each other, and the loop of an actor in Go.
package acting

import (
	"fmt"
	"time"
)

// Message is what is sent, and what is received.
type Message struct {
	Topic      string            `json:"topic"`
	Body       []byte            `json:"body"`
	Tag        string            `json:"tag,omitempty"`
	Keys       []string          `json:"keys,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	// Group is the message group of gRPC and the sharding key of remoting: messages that have it in
	// common keep their order.
	Group string `json:"group,omitempty"`
	// DeliverAtMs is the time before which nobody may receive the message.
	DeliverAtMs int64 `json:"deliver_at_ms,omitempty"`
	// DelayLevel is the older form of a delay, which only remoting clients send.
	DelayLevel int `json:"delay_level,omitempty"`

	// The rest is filled in on receipt.

	ID string `json:"id,omitempty"`
	// Attempt is 1 for the first delivery.
	Attempt int   `json:"attempt,omitempty"`
	BornMs  int64 `json:"born_ms,omitempty"`
	// AtMs is when the client handed the message over.
	AtMs int64 `json:"at_ms,omitempty"`
	// Receipt names the delivery in what is said to the actor about it.
	Receipt string `json:"receipt,omitempty"`
}

// Text is the body as the scenarios write it.
func (m Message) Text() string {
	return string(m.Body)
}

// At is when the client handed the message over, to the millisecond.
func (m Message) At() time.Time {
	return time.UnixMilli(m.AtMs)
}

// Sent is what a client says of a message it has sent.
type Sent struct {
	ID           string `json:"id"`
	RecallHandle string `json:"recall_handle,omitempty"`
}

// Subscription is a topic with a filter. Without an expression it is everything.
type Subscription struct {
	Topic string `json:"topic"`
	// SQL says that the expression is one of SQL92 and not tags.
	SQL        bool   `json:"sql,omitempty"`
	Expression string `json:"expression"`
}

// Outcome is what a listener answers for a message, or a checker for a transaction.
type Outcome string

// Outcomes of listeners and of transactions.
const (
	Success  Outcome = "success"
	Failure  Outcome = "failure"
	Commit   Outcome = "commit"
	Rollback Outcome = "rollback"
	Unknown  Outcome = "unknown"
)

// Order is one line to an actor. What it says is in the fields that belong to `do`.
type Order struct {
	ID   int    `json:"id,omitempty"`
	Do   string `json:"do"`
	Name string `json:"name,omitempty"`

	// Of a client that starts.
	Group         string         `json:"group,omitempty"`
	Topics        []string       `json:"topics,omitempty"`
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
	Checks        bool           `json:"checks,omitempty"`
	Ordered       bool           `json:"ordered,omitempty"`
	AwaitMs       int64          `json:"await_ms,omitempty"`

	// Of a producer.
	Message     *Message `json:"message,omitempty"`
	Transaction string   `json:"transaction,omitempty"`
	Outcome     Outcome  `json:"outcome,omitempty"`
	Topic       string   `json:"topic,omitempty"`
	Handle      string   `json:"handle,omitempty"`

	// Of a simple consumer.
	Max         int    `json:"max,omitempty"`
	InvisibleMs int64  `json:"invisible_ms,omitempty"`
	Receipt     string `json:"receipt,omitempty"`

	// Event is the number of the event that an outcome answers.
	Event int `json:"event,omitempty"`
}

// Report is one line from an actor: the answer to the order with its id, or else an event, which is a
// message that a listener or a checker was called with.
type Report struct {
	ID       int       `json:"id,omitempty"`
	Error    *Refused  `json:"error,omitempty"`
	Sent     *Sent     `json:"sent,omitempty"`
	Messages []Message `json:"messages,omitempty"`

	Event   int      `json:"event,omitempty"`
	Name    string   `json:"name,omitempty"`
	Message *Message `json:"message,omitempty"`
}

// Refused is a client's error. Code is that of the protocol when the client tells it, else 0.
type Refused struct {
	Code int    `json:"code"`
	Text string `json:"text"`
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the client failed with code %d: %s", r.Code, r.Text)
}
