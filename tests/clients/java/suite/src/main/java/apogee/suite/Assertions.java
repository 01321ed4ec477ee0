package apogee.suite;

/** What checks find or fail. */
final class Assertions {
    private Assertions() {
    }

    static void equal(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    static void holds(boolean condition, Object found) {
        if (!condition) {
            throw new AssertionError("found " + found);
        }
    }
}
