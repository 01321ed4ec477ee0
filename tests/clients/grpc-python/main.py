"""The official Python client for gRPC as an actor of the scenarios.

    main.py HOST:PORT
"""

import asyncio
import base64
import itertools
import json
import math
import os
import sys
import threading
import time

from rocketmq import (
    ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener, Producer, PushConsumer,
    SimpleConsumer, TransactionChecker, TransactionResolution,
)
from rocketmq.grpc_protocol import FilterType
from rocketmq.v5.client.connection import RpcClient

# By default a request may take three seconds. Many clients start at once here, and one whose first question for the route
# takes longer ends its start with an error about something else.
REQUEST_TIMEOUT_S = 20

RESOLUTIONS = {
    "commit": TransactionResolution.COMMIT,
    "rollback": TransactionResolution.ROLLBACK,
    "unknown": TransactionResolution.TRANSACTION_RESOLUTION_UNSPECIFIED,
}


class Output:
    """Writes reports, one at a time."""

    def __init__(self):
        self.lock = threading.Lock()

    def say(self, report):
        with self.lock:
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()


class Events:
    """The calls of listeners and checkers that wait for their outcome."""

    def __init__(self, out):
        self.out = out
        self.numbers = itertools.count(1)
        self.waiting = {}

    def ask(self, name, message):
        number, answered = next(self.numbers), threading.Event()
        self.waiting[number] = [answered, None]
        self.out.say({"event": number, "name": name, "message": message_to_json(message)})
        answered.wait()
        return self.waiting.pop(number)[1]

    def answer(self, number, outcome):
        self.waiting[number][1] = outcome
        self.waiting[number][0].set()


class Listener(MessageListener):
    def __init__(self, events, name):
        self.events, self.name = events, name

    def consume(self, message):
        succeeded = self.events.ask(self.name, message) == "success"
        return ConsumeResult.SUCCESS if succeeded else ConsumeResult.FAILURE


class Checker(TransactionChecker):
    def __init__(self, events, name):
        self.events, self.name = events, name

    def check(self, message):
        return RESOLUTIONS[self.events.ask(self.name, message)]


class Actor:
    """The clients of one process by their names."""

    def __init__(self, endpoint):
        self.configuration = ClientConfiguration(endpoint, Credentials(), request_timeout=REQUEST_TIMEOUT_S)
        self.out = Output()
        self.events = Events(self.out)
        self.clients, self.transactions, self.received = {}, {}, {}
        self.receipts = itertools.count(1)
        self.orders = {
            "start-producer": self.start_producer, "start-simple": self.start_simple, "start-push": self.start_push,
            "stop": lambda order: self.clients.pop(order["name"]).shutdown(),
            "send": self.send, "send-half": self.send_half, "end": self.end, "recall": self.recall,
            "receive": self.receive, "ack": self.ack, "change-invisible": self.change_invisible,
        }

    def do(self, order):
        lend_loop()
        try:
            report = self.orders[order["do"]](order)
            report = report if isinstance(report, dict) else {}
        except Exception as error:
            report = {"error": {"code": getattr(error, "code", None) or 0, "text": repr(error)}}
        self.out.say({"id": order["id"], **report})

    def start_producer(self, order):
        # Without a checker the client has no transactions at all.
        checker = Checker(self.events, order["name"]) if order.get("checks") else None
        self.start(order, Producer(self.configuration, order["topics"], checker))

    def start_simple(self, order):
        consumer = SimpleConsumer(
            self.configuration, order["group"], filters(order), await_duration=order["await_ms"] // 1000)
        self.start(order, consumer)

    def start_push(self, order):
        listener = Listener(self.events, order["name"])
        self.start(order, PushConsumer(self.configuration, order["group"], listener, filters(order)))

    def start(self, order, client):
        lend_loop()
        client.startup()
        self.clients[order["name"]] = client

    def send(self, order):
        return sent(self.clients[order["name"]].send(message_from_json(order["message"])))

    def send_half(self, order):
        producer = self.clients[order["name"]]
        transaction = self.transactions[order["transaction"]] = producer.begin_transaction()
        return sent(producer.send(message_from_json(order["message"]), transaction))

    def end(self, order):
        transaction = self.transactions[order["transaction"]]
        transaction.commit() if order["outcome"] == "commit" else transaction.rollback()

    def recall(self, order):
        return {"sent": {"id": self.clients[order["name"]].recall_message(order["topic"], order["handle"])}}

    def receive(self, order):
        messages = self.clients[order["name"]].receive(order["max"], order["invisible_ms"] // 1000)
        reported = []
        for message in messages:
            receipt = str(next(self.receipts))
            self.received[receipt] = message
            reported.append({**message_to_json(message), "receipt": receipt})
        return {"messages": reported}

    def ack(self, order):
        self.clients[order["name"]].ack(self.received[order["receipt"]])

    def change_invisible(self, order):
        seconds = order.get("invisible_ms", 0) // 1000
        self.clients[order["name"]].change_invisible_duration(self.received[order["receipt"]], seconds)


def lend_loop():
    """Makes the loop of the client that of the calling thread.

    The client opens its telemetry stream in whichever thread sees the answer to its first question for a route. That is
    the caller's if the answer is there before the client has looked away from the question, and then the stream fails
    for want of a loop: a push consumer does not start, or the first send or receive of a topic fails.
    """
    if loop := RpcClient.get_channel_io_loop():
        asyncio.set_event_loop(loop)


def filters(order):
    return {
        subscription["topic"]: FilterExpression(
            subscription["expression"], FilterType.SQL if subscription.get("sql") else FilterType.TAG)
        for subscription in order["subscriptions"]
    }


def sent(receipt):
    return {"sent": {"id": receipt.message_id, "recall_handle": receipt.recall_handle or ""}}


def message_from_json(said):
    message = Message()
    message.topic = said["topic"]
    message.body = base64.b64decode(said["body"])
    if "tag" in said:
        message.tag = said["tag"]
    for key in said.get("keys", []):
        message.keys = key
    for name, value in said.get("properties", {}).items():
        message.add_property(name, value)
    if "group" in said:
        message.message_group = said["group"]
    if "deliver_at_ms" in said:
        message.delivery_timestamp = math.ceil(said["deliver_at_ms"] / 1000)
    return message


def message_to_json(message):
    return {
        "topic": message.topic, "body": base64.b64encode(message.body).decode(), "tag": message.tag or "",
        "keys": list(message.keys), "properties": dict(message.properties), "group": message.message_group or "",
        "deliver_at_ms": message.delivery_timestamp or 0, "id": message.message_id,
        "attempt": message.delivery_attempt or 0, "born_ms": message.born_timestamp, "at_ms": int(time.time() * 1000),
    }


def main():
    actor = Actor(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "outcome":
            actor.events.answer(order["event"], order["outcome"])
        else:
            threading.Thread(target=actor.do, args=(order,), daemon=True).start()
    for client in list(actor.clients.values()):
        threading.Thread(target=client.shutdown, daemon=True).start()
    # Goodbyes are said at once or never; listeners that still wait must not hold up the end.
    time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    main()
