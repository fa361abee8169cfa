/** The client of AWS KMS. In a deployment, this is a file of its own. */
export { GetPublicKeyCommand, KMSClient, SignCommand } from '@aws-sdk/client-kms';
