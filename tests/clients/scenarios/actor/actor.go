// Package actor plays an official client: a program in the client's language that does what it is told.
//
// An actor reads orders from its standard input and writes reports to its standard output, a JSON object
// a line. Orders are carried out side by side, and reports come in any order.
package actor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"apogee.test/clients/acting"
)

const (
	// callTimeout is far beyond any time limit of a client.
	callTimeout = 90 * time.Second

	// goodbyeTimeout is what the clients have for their goodbyes when all is over.
	goodbyeTimeout = 3 * time.Second

	lineMax     = 64 << 20
	outputShown = 8 << 10
)

// Actor is a running program. Its clients are made by [Actor.Producer], [Actor.SimpleConsumer] and
// [Actor.PushConsumer].
type Actor struct {
	name    string
	process *exec.Cmd
	output  string

	writing sync.Mutex
	input   io.WriteCloser

	mutex     sync.Mutex
	lastID    int
	waiting   map[int]chan acting.Report
	listeners map[string]func(Message) Outcome

	ended    chan struct{}
	endError error
}

// Start runs a program. What it writes to its standard error goes to the file output.
func Start(name string, command []string, environment []string, output string) (*Actor, error) {
	process := exec.Command(command[0], command[1:]...)
	process.Env = append(os.Environ(), environment...)
	log, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	process.Stderr = log
	input, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	reports, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w; tests/clients/prepare makes it", name, err)
	}
	actor := &Actor{
		name: name, process: process, output: output, input: input,
		waiting: map[int]chan acting.Report{}, listeners: map[string]func(Message) Outcome{}, ended: make(chan struct{}),
	}
	go actor.read(reports)
	return actor, nil
}

// Kill ends the program without giving its clients a chance to say goodbye.
func (a *Actor) Kill() {
	_ = a.process.Process.Signal(syscall.SIGKILL)
	<-a.ended
}

// Stop closes the program's input, upon which its clients say goodbye and it ends. One that takes too long
// is killed: scenarios that are about a client's end stop that client.
func (a *Actor) Stop() {
	a.writing.Lock()
	_ = a.input.Close()
	a.writing.Unlock()
	select {
	case <-a.ended:
	case <-time.After(goodbyeTimeout):
		a.Kill()
	}
}

// Output returns the end of what the program wrote to its standard error and of the logs beside it.
func (a *Actor) Output() string {
	shown := tail(a.output)
	home := filepath.Dir(a.output)
	_ = filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && path != a.output && entry.Type().IsRegular() && filepath.Ext(path) == ".log" {
			shown += fmt.Sprintf("\n%s:\n%s", strings.TrimPrefix(path, home), tail(path))
		}
		return nil
	})
	return shown
}

func tail(path string) string {
	output, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(output[max(0, len(output)-outputShown):])
}

// ErrEnded says that the program is no more.
var ErrEnded = errors.New("the actor has ended")

func (a *Actor) call(request acting.Order) (acting.Report, error) {
	answer := make(chan acting.Report, 1)
	a.mutex.Lock()
	a.lastID++
	request.ID = a.lastID
	a.waiting[request.ID] = answer
	a.mutex.Unlock()
	defer func() {
		a.mutex.Lock()
		delete(a.waiting, request.ID)
		a.mutex.Unlock()
	}()
	if err := a.write(request); err != nil {
		return acting.Report{}, err
	}
	select {
	case result := <-answer:
		if result.Error != nil {
			return acting.Report{}, fmt.Errorf("%s, %s: %w", a.name, request.Do, result.Error)
		}
		return result, nil
	case <-a.ended:
		return acting.Report{}, fmt.Errorf("%s, %s: %w: %v", a.name, request.Do, ErrEnded, a.endError)
	case <-time.After(callTimeout):
		return acting.Report{}, fmt.Errorf("%s, %s: no answer within %v", a.name, request.Do, callTimeout)
	}
}

func (a *Actor) write(request acting.Order) error {
	bytes, err := json.Marshal(request)
	if err != nil {
		return err
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	_, err = a.input.Write(append(bytes, '\n'))
	return err
}

func (a *Actor) read(reports io.Reader) {
	lines := bufio.NewScanner(reports)
	lines.Buffer(nil, acting.LineMax)
	for lines.Scan() {
		var said acting.Report
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			a.endError = fmt.Errorf("not a report: %.200q", lines.Text())
			_ = a.process.Process.Kill()
			break
		}
		if said.Event == 0 {
			a.answer(said)
		} else {
			a.handle(said)
		}
	}
	err := a.process.Wait()
	if a.endError == nil {
		a.endError = err
	}
	close(a.ended)
}

func (a *Actor) answer(said acting.Report) {
	a.mutex.Lock()
	answer := a.waiting[said.ID]
	a.mutex.Unlock()
	// An answer that nobody waits for any more came after its time.
	if answer != nil {
		answer <- said
	}
}

// handle asks the listener. Listeners may take as long as they like and must not hold up the reader.
func (a *Actor) handle(said acting.Report) {
	a.mutex.Lock()
	listener := a.listeners[said.Name]
	a.mutex.Unlock()
	go func() {
		// The actor's end is noticed by whoever waits for it.
		_ = a.write(acting.Order{Do: "outcome", Event: said.Event, Outcome: listener(*said.Message)})
	}()
}

func (a *Actor) listen(name string, listener func(Message) Outcome) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.listeners[name] = listener
}

var (
	namesMutex sync.Mutex
	namesGiven int
)

// newName makes the name of a client or a transaction, unlike all others of the run.
func newName(kind string) string {
	namesMutex.Lock()
	defer namesMutex.Unlock()
	namesGiven++
	return fmt.Sprintf("%s-%d", kind, namesGiven)
}
