package apogee.mqadmin;

import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.List;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** The tool's list of commands, which it fills whenever it starts. */
final class Commands {
    private Commands() {}

    /** Makes the next start fill the list with new commands. */
    static void forget() throws ReflectiveOperationException {
        for (Field field : MQAdminStartup.class.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers()) && List.class.isAssignableFrom(field.getType())) {
                field.setAccessible(true);
                ((List<?>) field.get(null)).clear();
            }
        }
    }
}
