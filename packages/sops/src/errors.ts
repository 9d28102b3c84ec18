/** Failures of SOPS files, with the exit codes that the `sops` program documents (`cmd/sops/codes/codes.go`). */
import { UserError, type UserErrorOptions } from "@kws/base/errors";

export const sopsExitCodes = {
  errorGeneric: 1,
  couldNotReadInputFile: 2,
  couldNotWriteOutputFile: 3,
  errorDumpingTree: 4,
  errorReadingConfig: 5,
  errorInvalidKmsEncryptionContextFormat: 6,
  errorInvalidSetFormat: 7,
  errorConflictingParameters: 8,
  errorEncryptingMac: 21,
  errorEncryptingTree: 23,
  errorDecryptingMac: 24,
  errorDecryptingTree: 25,
  cannotChangeKeysFromNonExistentFile: 49,
  macMismatch: 51,
  macNotFound: 52,
  configFileNotFound: 61,
  keyboardInterrupt: 85,
  invalidTreePathFormat: 91,
  needAtLeastOneDocument: 92,
  noFileSpecified: 100,
  couldNotRetrieveKey: 128,
  noEncryptionKeyFound: 111,
  invalidLogLevel: 112,
  duplicateDecryptionKeyType: 113,
  fileHasNotBeenModified: 200,
  noEditorFound: 201,
  failedToCompareVersions: 202,
  fileAlreadyEncrypted: 203,
} as const;

export type SopsErrorName = keyof typeof sopsExitCodes;

export class SopsError extends UserError {
  override name = "SopsError";
  readonly reason: SopsErrorName;

  constructor(reason: SopsErrorName, message: string, options: UserErrorOptions = {}) {
    super(message, options);
    this.reason = reason;
  }

  override get exitCode(): number {
    return sopsExitCodes[this.reason];
  }
}
