/** Failures of SOPS files, with those of the exit codes of `sops` (`cmd/sops/codes/codes.go`) that have a use here. */
import { UserError, type UserErrorOptions } from "@kws/base/errors";

export const sopsExitCodes = {
  errorGeneric: 1,
  couldNotReadInputFile: 2,
  couldNotWriteOutputFile: 3,
  errorDumpingTree: 4,
  errorReadingConfig: 5,
  invalidEncryptionContext: 6,
  errorInvalidSetFormat: 7,
  errorConflictingParameters: 8,
  errorEncryptingTree: 23,
  errorDecryptingTree: 25,
  macMismatch: 51,
  configFileNotFound: 61,
  needAtLeastOneDocument: 92,
  noEncryptionKeyFound: 111,
  couldNotRetrieveKey: 128,
  fileHasNotBeenModified: 200,
  noEditorFound: 201,
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
