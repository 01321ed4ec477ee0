// Package remoting speaks just enough of the wire protocol to ask a server one question.
//
// The tests use it for what the official clients cannot do: ask whether a topic has a route yet and which
// offset a group has committed, and create topics and groups of all kinds.
package remoting

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Codes of the requests and answers the tests need.
const (
	QueryConsumerOffset = 14
	createTopic         = 17
	GetRouteByTopic     = 105
	createGroup         = 200
	ResetOffset         = 222

	Success       = 0
	TopicNotExist = 17
	QueryNotFound = 22
)

const (
	// clientVersion is what the Go client sends. Servers choose the dialect of their answer by it.
	clientVersion = 317

	callTimeout = 3 * time.Second
	frameMax    = 16 << 20
)

// Reply is the answer to one request.
type Reply struct {
	Code   int               `json:"code"`
	Remark string            `json:"remark"`
	Fields map[string]string `json:"extFields"`
	Body   []byte            `json:"-"`
}

type requestHeader struct {
	Code     int               `json:"code"`
	Language string            `json:"language"`
	Version  int               `json:"version"`
	Opaque   int               `json:"opaque"`
	Flag     int               `json:"flag"`
	Fields   map[string]string `json:"extFields"`
}

// Call opens a connection, sends one request and returns the answer.
func Call(address string, code int, fields map[string]string) (Reply, error) {
	return callWithBody(address, code, fields, nil)
}

func callWithBody(address string, code int, fields map[string]string, body []byte) (Reply, error) {
	connection, err := net.DialTimeout("tcp", address, callTimeout)
	if err != nil {
		return Reply{}, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return Reply{}, err
	}
	header, err := json.Marshal(requestHeader{
		Code: code, Language: "GO", Version: clientVersion, Opaque: 1, Fields: fields,
	})
	if err != nil {
		return Reply{}, err
	}
	if _, err := connection.Write(frame(header, body)); err != nil {
		return Reply{}, err
	}
	return readReply(connection)
}

// frame puts the two length words before a JSON header and a body. The serialize type in the top byte
// of the second word is 0 for JSON.
func frame(header, body []byte) []byte {
	bytes := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)+len(body)))
	bytes = binary.BigEndian.AppendUint32(bytes, uint32(len(header)))
	return append(append(bytes, header...), body...)
}

func readReply(stream io.Reader) (Reply, error) {
	var lengths [8]byte
	if _, err := io.ReadFull(stream, lengths[:]); err != nil {
		return Reply{}, err
	}
	total := binary.BigEndian.Uint32(lengths[:4])
	serializeType, headerSize := lengths[4], binary.BigEndian.Uint32(lengths[4:])&0xff_ffff
	if serializeType != 0 {
		return Reply{}, fmt.Errorf("a JSON request was answered with serialize type %d", serializeType)
	}
	if frameMax < total || total < 4+headerSize {
		return Reply{}, fmt.Errorf("a header of %d bytes does not fit into a frame of %d", headerSize, total)
	}
	content := make([]byte, total-4)
	if _, err := io.ReadFull(stream, content); err != nil {
		return Reply{}, err
	}
	var reply Reply
	if err := json.Unmarshal(content[:headerSize], &reply); err != nil {
		return Reply{}, err
	}
	reply.Body = content[headerSize:]
	return reply, nil
}

// ErrNoRoute says that the nameserver answers, but does not know the topic.
var ErrNoRoute = errors.New("the topic has no route")

// Master asks the nameserver for the address of a broker that serves the topic.
func Master(nameserver, topic string) (string, error) {
	reply, err := Call(nameserver, GetRouteByTopic, map[string]string{
		"topic": topic, "acceptStandardJsonOnly": "true",
	})
	if err != nil {
		return "", err
	}
	if reply.Code == TopicNotExist {
		return "", ErrNoRoute
	}
	if reply.Code != Success {
		return "", fmt.Errorf("route of %s: code %d, %s", topic, reply.Code, reply.Remark)
	}
	var route struct {
		Brokers []struct {
			Addresses map[string]string `json:"brokerAddrs"`
		} `json:"brokerDatas"`
	}
	if err := json.Unmarshal(reply.Body, &route); err != nil {
		return "", fmt.Errorf("route of %s: %w", topic, err)
	}
	for _, broker := range route.Brokers {
		if master := broker.Addresses["0"]; master != "" {
			return master, nil
		}
	}
	return "", ErrNoRoute
}
