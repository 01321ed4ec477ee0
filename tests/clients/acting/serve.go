package acting

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// LineMax is the longest line: a body of 4 MiB, in Base64 and with some to spare.
const LineMax = 64 << 20

// Output writes reports, one at a time.
type Output struct {
	mutex sync.Mutex
}

// Say writes a report. Without anybody who reads there is nothing left to do for the program.
func (o *Output) Say(report Report) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Events are the calls of listeners and checkers that wait for their outcome.
type Events struct {
	out     *Output
	mutex   sync.Mutex
	last    int
	waiting map[int]chan Outcome
}

// NewEvents returns events that are told to out.
func NewEvents(out *Output) *Events {
	return &Events{out: out, waiting: map[int]chan Outcome{}}
}

// Ask tells that the client of this name was called with the message, and waits for what is to be
// answered.
func (e *Events) Ask(name string, message Message) Outcome {
	answer := make(chan Outcome, 1)
	e.mutex.Lock()
	e.last++
	number := e.last
	e.waiting[number] = answer
	e.mutex.Unlock()
	e.out.Say(Report{Event: number, Name: name, Message: &message})
	return <-answer
}

func (e *Events) answer(number int, outcome Outcome) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.waiting[number] <- outcome
	delete(e.waiting, number)
}

// Serve carries out what comes in on the standard input, side by side, until that ends.
func Serve(out *Output, events *Events, do func(Order) (Report, error)) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, LineMax)
	for lines.Scan() {
		var order Order
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if order.Do == "outcome" {
			events.answer(order.Event, order.Outcome)
			continue
		}
		go func() {
			report, err := do(order)
			if err != nil {
				report = Report{Error: refusedBy(err)}
			}
			report.ID = order.ID
			out.Say(report)
		}()
	}
}

func refusedBy(err error) *Refused {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused
	}
	return &Refused{Text: err.Error()}
}

// Table has the things of one process by their names.
type Table[T any] struct {
	mutex sync.Mutex
	named map[string]T
}

// Keep adds a thing.
func (t *Table[T]) Keep(name string, thing T) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.named == nil {
		t.named = map[string]T{}
	}
	t.named[name] = thing
}

// Find returns a thing, and ends the program when nobody has kept it.
func (t *Table[T]) Find(name string) T {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	thing, known := t.named[name]
	if !known {
		panic("there is no " + name)
	}
	return thing
}

// Take returns a thing and forgets it.
func (t *Table[T]) Take(name string) T {
	thing := t.Find(name)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	delete(t.named, name)
	return thing
}

// All returns all things.
func (t *Table[T]) All() []T {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	things := make([]T, 0, len(t.named))
	for _, thing := range t.named {
		things = append(things, thing)
	}
	return things
}
