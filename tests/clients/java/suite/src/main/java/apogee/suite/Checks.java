package apogee.suite;

/** All checks of a version. */
final class Checks {
    private Checks() {
    }

    /** Arguments: address of the nameserver. */
    static void run(ClientVersion version, String[] arguments) throws Exception {
        // For tools.
        System.setProperty("rocketmq.namesrv.addr", arguments[0]);
        Suite suite = new Suite();
        Stage stage = new Stage(arguments[0], version);
        Sending.addTo(suite, stage);
        Consuming.addTo(suite, stage);
        Pulling.addTo(suite, stage);
        Transactions.addTo(suite, stage);
        Requests.addTo(suite, stage);
        Finding.addTo(suite, stage);
        Operating.addTo(suite, stage);
        version.addOwn(suite, stage);
        suite.run();
        // Clients have threads that would keep the program.
        System.exit(0);
    }
}
