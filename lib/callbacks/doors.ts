/** WeChat's doors by the names that log, metrics and lists know them by. */

export const CALLBACK_DOORS = ['pay-v2', 'pay-v2-refund', 'pay-v3', 'push'] as const
export type CallbackDoor = (typeof CALLBACK_DOORS)[number]
