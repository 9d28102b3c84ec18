/** Run configurations of JetBrains' editors, kept in files of their own: `.run/<name>.run.xml`. */
import { type Attachment, nameOf } from "./attachment.ts";

/** Undefined for languages whose debugger JetBrains' editors attach to in ways that no file describes. */
export function runConfiguration(attachment: Attachment): string | undefined {
  const name = escaped(nameOf(attachment));
  const port = attachment.port ?? 0;
  const place = attachment.folder === "." ? "$PROJECT_DIR$" : `$PROJECT_DIR$/${attachment.folder}`;
  switch (attachment.language) {
    case "node":
      return configuration(
        `name="${name}" type="ChromiumRemoteDebugType" factoryName="Chromium Remote" host="127.0.0.1" port="${port}" restartOnDisconnect="true"`,
        [
          "<mappings>",
          `  <mapping url="${escaped(attachment.remote)}" local-file="${escaped(place)}" />`,
          "</mappings>",
        ],
      );
    case "jvm":
      return configuration(`name="${name}" type="Remote"`, [
        '<option name="USE_SOCKET_TRANSPORT" value="true" />',
        '<option name="SERVER_MODE" value="false" />',
        '<option name="SHMEM_ADDRESS" />',
        '<option name="HOST" value="127.0.0.1" />',
        `<option name="PORT" value="${port}" />`,
        '<option name="AUTO_RESTART" value="true" />',
      ]);
    case "go":
      return configuration(
        `name="${name}" type="GoRemoteDebugConfigurationType" factoryName="Go Remote" host="127.0.0.1" port="${port}"`,
        ['<option name="disconnectOption" value="LEAVE" />', '<disconnect value="LEAVE" />'],
      );
    case "python":
    case "dotnet":
      return undefined;
  }
}

function configuration(attributes: string, content: string[]): string {
  const lines = [...content, '<method v="2" />'].map((line) => `    ${line}\n`).join("");
  return (
    '<component name="ProjectRunConfigurationManager">\n' +
    `  <configuration default="false" ${attributes}>\n${lines}  </configuration>\n</component>\n`
  );
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
